-- Rows that the warehouse has from a later snapshot stay, because loads may end in any order.
DELETE FROM estagio_pedidos USING pedidos
WHERE pedidos.linha = estagio_pedidos.linha AND pedidos.versao > estagio_pedidos.versao;
DELETE FROM estagio_pedidos USING pedidos_rejeitados
WHERE pedidos_rejeitados.linha = estagio_pedidos.linha AND pedidos_rejeitados.versao > estagio_pedidos.versao;
DELETE FROM estagio_pedidos_rejeitados USING pedidos
WHERE pedidos.linha = estagio_pedidos_rejeitados.linha AND pedidos.versao > estagio_pedidos_rejeitados.versao;
DELETE FROM estagio_pedidos_rejeitados USING pedidos_rejeitados
WHERE pedidos_rejeitados.linha = estagio_pedidos_rejeitados.linha
    AND pedidos_rejeitados.versao > estagio_pedidos_rejeitados.versao;
