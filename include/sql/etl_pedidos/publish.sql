-- Runs in one transaction. First it deletes the loaded lines, so that `pedidos` holds only the other lines.
DELETE FROM pedidos USING estagio_pedidos WHERE pedidos.linha = estagio_pedidos.linha;
DELETE FROM pedidos USING estagio_pedidos_rejeitados WHERE pedidos.linha = estagio_pedidos_rejeitados.linha;
DELETE FROM pedidos_rejeitados USING estagio_pedidos WHERE pedidos_rejeitados.linha = estagio_pedidos.linha;
DELETE FROM pedidos_rejeitados USING estagio_pedidos_rejeitados
WHERE pedidos_rejeitados.linha = estagio_pedidos_rejeitados.linha;
-- The last line of each loaded order, from the stage and from `pedidos`.
CREATE TEMP TABLE ultimas AS
SELECT pedido_id, MAX(linha) AS linha
FROM (
    SELECT pedido_id, linha FROM estagio_pedidos
    UNION ALL
    SELECT pedidos.pedido_id, pedidos.linha FROM pedidos
    WHERE pedidos.pedido_id IN (SELECT pedido_id FROM estagio_pedidos)
) AS todas
GROUP BY pedido_id;
CREATE TEMP TABLE candidatas AS
SELECT linha, pedido_id, cliente_id, data, valor_total, status, versao FROM estagio_pedidos
UNION ALL
SELECT linha, pedido_id, cliente_id, data, valor_total, status, versao FROM pedidos
WHERE pedido_id IN (SELECT pedido_id FROM estagio_pedidos);
INSERT INTO estagio_pedidos_rejeitados (linha, pedido_id, valor_total, conteudo, motivo, versao)
SELECT velha.linha, velha.pedido_id, velha.valor_total,
    'cliente_id ' || CAST(velha.cliente_id AS VARCHAR(20)) || ', data ' || CAST(velha.data AS VARCHAR(30))
        || ', status ' || velha.status,
    CASE WHEN velha.cliente_id = nova.cliente_id AND velha.data = nova.data
            AND velha.valor_total = nova.valor_total AND velha.status = nova.status
        THEN 'a copy of line ' ELSE 'an older version of line ' END || CAST(nova.linha AS VARCHAR(20)),
    velha.versao
FROM candidatas AS velha
JOIN ultimas ON ultimas.pedido_id = velha.pedido_id AND velha.linha < ultimas.linha
JOIN candidatas AS nova ON nova.linha = ultimas.linha;
DELETE FROM pedidos USING estagio_pedidos_rejeitados WHERE pedidos.linha = estagio_pedidos_rejeitados.linha;
INSERT INTO pedidos (linha, pedido_id, cliente_id, data, valor_total, status, versao)
SELECT linha, pedido_id, cliente_id, data, valor_total, status, versao FROM estagio_pedidos
-- NOT EXISTS and not NOT IN: with many set-aside lines, PostgreSQL would read all of them for each line.
WHERE NOT EXISTS (
    SELECT 1 FROM estagio_pedidos_rejeitados WHERE estagio_pedidos_rejeitados.linha = estagio_pedidos.linha
);
INSERT INTO pedidos_rejeitados (linha, pedido_id, valor_total, conteudo, motivo, versao)
SELECT linha, pedido_id, valor_total, conteudo, motivo, versao FROM estagio_pedidos_rejeitados;
DROP TABLE ultimas;
DROP TABLE candidatas;
