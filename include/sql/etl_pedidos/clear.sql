DELETE FROM pedidos;
DELETE FROM pedidos_rejeitados;
