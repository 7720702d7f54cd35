{# For each table, its newest sweep; `inicio` is when the oldest transaction that its snapshot did not see had begun. #}
SELECT tabela, max(fim), argMax(inicio, version), argMax(snapshot_xmin, version),
    argMax(if(source_timeline IN (0, {timeline:UInt32}), source_system, 0), version)
FROM {{ ledger }}
WHERE kind = 'sweep' AND {% include 'valid.sql' %}
GROUP BY tabela
