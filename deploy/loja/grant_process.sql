-- etl_pedidos must see other users' open transactions.
GRANT PROCESS ON *.* TO 'loja'@'%';
