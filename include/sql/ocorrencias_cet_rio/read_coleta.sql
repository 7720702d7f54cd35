SELECT *
FROM coletas
WHERE execucao = {execucao:String}
