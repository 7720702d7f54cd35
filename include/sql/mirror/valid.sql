{# Which rows of the ledger count: those of the present table, after its last `forget`. A constant map costs less than a
   join, and all questions of one statement share it. `until` is the version of that `forget`, 0 without one. #}
version > ((SELECT maxMap(map(tabela, version)) FROM {{ ledger }} WHERE kind = 'forget')[tabela] AS until)
  AND built = {built:Array(UInt64)}[indexOf({rebuilt:Array(String)}, tabela)]
