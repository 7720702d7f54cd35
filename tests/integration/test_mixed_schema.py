from __future__ import annotations
from dataclasses import replace
import pytest
from tests.integration import mixed
from tests.lab import Lab

def test_first(lab: Lab) -> None:
    with lab.connect() as c:
        c.execute(mixed.TYPES_OF_THEIR_OWN)
        for s in mixed.SHAPES:
            for st in s.create():
                c.execute(st.encode())
            c.execute(s.insert(1, 12).encode())
    lab.declaration = replace(lab.declaration, tables=[s.declared for s in mixed.SHAPES])
    import time
    t=time.time()
    import cProfile, pstats
    pr=cProfile.Profile(); pr.enable()
    print(lab.run())
    pr.disable()
    pstats.Stats(pr).sort_stats("cumtime").print_stats(45)
    print(time.time()-t); t=time.time()
    lab.assert_equal()
    print(time.time()-t)
    print(lab.query("select name, as_select from system.tables where database='vendas_dw' and name like '%select'"))
    print(lab.query("select name, sorting_key, partition_key from system.tables where database='vendas_raw'"))
    with lab.connect() as c:
        for s in mixed.SHAPES:
            c.execute(s.insert(13, 14).encode())
            for st in s.update([1,2], 1):
                c.execute(st.encode())
    t=time.time()
    print(lab.run())
    print(time.time()-t); t=time.time()
    lab.assert_equal()
    print(lab.query("select tabela, kind, rows, reason from vendas_dw.cargas"))
