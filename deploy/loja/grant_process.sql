-- etl_pedidos asks which transactions are open.
GRANT PROCESS ON *.* TO 'loja'@'%';
