{#
  The result of each model, for people who look: the table `resultados`, which the page Warehouse reads. It gets its rows at the
  end of a run, also of one in which models or tests failed. A run that is killed leaves none.
#}

{# A value as a literal of SQL, on one line. #}
{% macro text(value) %}
  {% set short = ((value or "") | string).split() | join(" ") | truncate(500, true, "…", 0) %}
  {{ return("'" ~ short | replace("\\", "\\\\") | replace("'", "\\'") ~ "'") }}
{% endmacro %}

{% macro note_results(results) %}
  {% if execute and flags.WHICH in ("run", "build") %}
    {% do run_query("CREATE TABLE IF NOT EXISTS " ~ own("resultados") ~ "
        (execucao String, modelo LowCardinality(String), status LowCardinality(String), segundos Float64, mensagem String,
         testes UInt32, testes_ok UInt32, problemas Array(Tuple(String, String, String)),
         terminada_em DateTime64(3, 'UTC') DEFAULT now64(3))
        ENGINE = MergeTree ORDER BY (modelo, terminada_em) TTL toDateTime(terminada_em) + INTERVAL 30 DAY
        COMMENT 'the result of each model in each run of dbt; problemas: name, status and message of its tests that did not pass'") %}
    {% set rows = [] %}
    {% for one in results if one.node.resource_type == "model" %}
      {% set tests = [] %}
      {% for test in results if test.node.resource_type == "test" and one.node.unique_id in models_of(test.node) %}
        {% do tests.append(test) %}
      {% endfor %}
      {% set problems = [] %}
      {% for test in tests if test.status not in ("pass", "skipped") %}
        {% do problems.append("(" ~ text(test.node.name) ~ ", " ~ text(test.status) ~ ", " ~ text(test.message) ~ ")") %}
      {% endfor %}
      {% do rows.append("(" ~ [
          text(invocation_id), text(one.node.name), text(one.status), one.execution_time, text(one.message),
          tests | length, tests | selectattr("status", "equalto", "pass") | list | length, "[" ~ problems | join(", ") ~ "]",
      ] | join(", ") ~ ")") %}
    {% endfor %}
    {% if rows %}
      {% do run_query("INSERT INTO " ~ own("resultados")
          ~ " (execucao, modelo, status, segundos, mensagem, testes, testes_ok, problemas) VALUES " ~ rows | join(", ")) %}
    {% endif %}
  {% endif %}
{% endmacro %}

{# The models that a test is about: the one whose column it checks, or else all that its query reads. #}
{% macro models_of(test) %}
  {{ return([test.attached_node] if test.attached_node else test.depends_on.nodes) }}
{% endmacro %}
