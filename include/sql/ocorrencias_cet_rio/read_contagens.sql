SELECT tipo_ocorrencia, status_ocorrencia, quantidade_ocorrencia
FROM contagem FINAL
WHERE momento = {momento:DateTime64(6, 'UTC')} AND coleta = {coleta:UUID}
ORDER BY tipo_ocorrencia, status_ocorrencia
