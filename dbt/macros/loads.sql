{#
  Which rows the incremental models read: those of loads of the mirror that they have not read yet.

  The mirror's ledger (vendas_raw.cargas) gets a row after a load was published. All rows of a load have its version, but loads
  are not published in the order of their versions. So a model can't go on from the highest version that it has seen: the table
  `cargas_lidas` remembers each load that it has read.

  1. When dbt starts, it notes in `cargas_novas` the loads that are in the ledger and that a model has not read yet.
  2. The model reads the keys of all rows whose version is not of a load that it has read, and inserts their newest rows. They
     keep their versions, so the newest row of a key wins, in whichever order rows are inserted.
  3. After that, the noted loads are added to `cargas_lidas`.

  | what happens                              | what follows                                                          |
  |-------------------------------------------|-----------------------------------------------------------------------|
  | dbt dies after step 1 or 2, or within 2   | the next run reads the same loads again, with the same result         |
  | dbt dies between two models               | a model's loads are remembered by itself; the others follow next time |
  | the mirror publishes after step 1         | its load was not noted, so the next run reads it again                |
  | the mirror dies between rows and ledger   | the rows belong to no load, so each run reads them                    |
  | two runs of dbt overlap                   | each remembers only what it noted before it read                      |
  | a model's table is replaced               | `cargas_lidas` names the old one, so the next run reads everything    |
  | a table of the mirror is rebuilt or empty | the model reads everything, and drops the keys that are gone          |
#}

{# The mirror's table of each incremental model. #}
{% macro tables() %}
  {{ return({"fato_venda_versoes": "venda", "fato_item_venda_versoes": "item_venda"}) }}
{% endmacro %}

{% macro table_of(model) %}{{ return(tables()[model]) }}{% endmacro %}

{% macro own(table) %}`{{ target.schema }}`.`{{ table }}`{% endmacro %}

{% macro note_new_loads() %}
  {% if execute and flags.WHICH in ("run", "build") %}
    {% set ledger = source("bruto", "cargas") %}
    {% do run_query("CREATE TABLE IF NOT EXISTS " ~ own("cargas_lidas") ~ "
        (modelo LowCardinality(String), tabela UUID, carga UUID, lida_em DateTime DEFAULT now())
        ENGINE = MergeTree ORDER BY (modelo, tabela, carga)
        COMMENT 'the loads of the mirror that each incremental model has read into its table'") %}
    {% do run_query("CREATE TABLE IF NOT EXISTS " ~ own("cargas_novas") ~ "
        (execucao String, modelo LowCardinality(String), tabela UUID, carga UUID, kind LowCardinality(String),
         notada_em DateTime DEFAULT now())
        ENGINE = MergeTree ORDER BY (execucao, modelo) TTL notada_em + INTERVAL 7 DAY
        COMMENT 'the loads that a run of dbt found, and that a model had not read yet'") %}
    {% for model, table in tables().items() %}
      {# A rebuild writes its ledger row before its table is exchanged: it counts when the table has its mark. #}
      {% do run_query("INSERT INTO " ~ own("cargas_novas") ~ " (execucao, modelo, tabela, carga, kind)
        WITH (SELECT max(toUInt64OrZero(extract(comment, ', built ([0-9]+)$'))) FROM system.tables
              WHERE database = '" ~ ledger.schema ~ "' AND name = '" ~ table ~ "') AS standing
        SELECT '" ~ invocation_id ~ "', '" ~ model ~ "', " ~ uuid_of(model) ~ ", id, kind
        FROM " ~ ledger ~ "
        WHERE (kind = 'begin' OR tabela = '" ~ table ~ "') AND built <= standing
          AND id NOT IN (" ~ loads_read(model) ~ ")") %}
    {% endfor %}
  {% endif %}
{% endmacro %}

{# The identity of a model's table. A table that dbt builds anew gets another one: what it has read is not remembered. #}
{% macro uuid_of(model) %}
  (SELECT anyOrDefault(uuid) FROM system.tables WHERE database = '{{ target.schema }}' AND name = '{{ model }}'
   AND NOT {{ flags.FULL_REFRESH | as_bool }})
{% endmacro %}

{% macro loads_read(model) %}
  SELECT carga FROM {{ own("cargas_lidas") }} WHERE modelo = '{{ model }}' AND tabela = {{ uuid_of(model) }}
{% endmacro %}

{# The condition for rows that a model has not read yet. #}
{% macro not_read() %}
  version NOT IN (
    SELECT version FROM {{ source("bruto", "cargas") }}
    WHERE tabela = '{{ table_of(this.identifier) }}' AND id IN ({{ loads_read(this.identifier) }})
  )
{% endmacro %}

{# Whether a model has to read everything: rows may be gone from the mirror's table without a tombstone. #}
{% macro reads_all() %}
  {% if not execute or not is_incremental() %}{{ return(true) }}{% endif %}
  {% set found = run_query("SELECT countIf(kind IN ('begin', 'forget', 'exchanged', 'rebuild')) FROM " ~ own("cargas_novas")
      ~ " WHERE execucao = '" ~ invocation_id ~ "' AND modelo = '" ~ this.identifier ~ "'") %}
  {{ return(found.rows[0][0] > 0) }}
{% endmacro %}

{% macro mark_loads_read() %}
  INSERT INTO {{ own("cargas_lidas") }} (modelo, tabela, carga)
  SELECT modelo, tabela, carga FROM {{ own("cargas_novas") }}
  WHERE execucao = '{{ invocation_id }}' AND modelo = '{{ this.identifier }}'
{% endmacro %}
