"""A Docker Engine for tests on a machine without one: Debian's packages in namespaces of their own.

    python -m local.docker COMMAND …      # run a command that finds a Docker Engine

If an engine answers already, the command simply runs. Otherwise, as root on Linux:

- `roots` creates a Debian file system with the engine, in `.local/docker`. It installs nothing on the machine.
- `sandbox` starts `inside` in its own network, mount and process namespaces. The engine's bridges, firewall rules, mounts
  and processes belong to these namespaces, and disappear with them, however the command ends. slirp4netns connects the
  namespaces to the network, without rules on the machine.
- `inside` starts the engine, and then the command. Only that command can reach the ports that containers publish.
- `images` pulls the images that the deployment names, or builds stand-ins for them.

The engine keeps its images in `.local/docker/data`; `make clean` removes them.
"""
