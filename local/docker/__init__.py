"""A Docker Engine for tests, on a machine that has none: Debian's packages in namespaces of their own.

    python -m local.docker COMMAND …      # run a command that finds a Docker Engine

Where an engine answers already, the command simply runs. Otherwise, as root on Linux:

- `roots` makes a Debian file system with the engine in it, in `.local/docker`. Nothing is installed on the machine.
- `sandbox` starts `inside` in a network, a mount and a process namespace of its own. Bridges, firewall rules, mounts
  and processes of the engine are part of these, and go with them, however the command ends. slirp4netns, which needs no
  rule on the machine either, leads from there to the network.
- `inside` starts the engine, and then the command. Ports that containers publish are seen by that command alone.
- `images` pulls the images that the deployment names, or builds stand-ins for them.

The engine keeps its images in `.local/docker/data` for the next time; `make clean` removes it.
"""
