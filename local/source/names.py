"""The words from which names of people and products, and descriptions, are built."""

FIRST_NAMES = """
Adriana Alexandre Aline Amanda Ana André Antônio Aparecida Beatriz Bernardo Breno Bruna Bruno Caio Camila Carla
Carlos Carolina Cauã Cecília Célia Cláudia Conceição Cristiane Cristóvão Daniel Daniela Davi Débora Diego
Edson Eduarda Eduardo Elaine Elisa Emília Enzo Érica Estêvão Eva Fábio Felipe Fernanda Fernando Flávia
Francisca Francisco Gabriel Gabriela Geraldo Gilberto Giovana Guilherme Gustavo Heitor Helena Henrique Heloísa
Iara Igor Inácio Inês Isabel Isabela Ivone Jéssica Joana João Joaquim Jorge José Juliana Júlio Karina Laís
Lara Larissa Laura Leandro Letícia Lívia Lorena Luana Lucas Lúcia Luís Luíza Luzia Manuela Marcelo Márcia
Marcos Maria Mariana Marina Mário Marta Mateus Miguel Milena Mônica Murilo Natália Nelson Nícolas Nilza Olívia
Otávio Patrícia Paulo Pedro Rafael Raimunda Raquel Regina Renata Renato Ricardo Rita Roberto Rodrigo Rosângela
Samuel Sandra Sebastião Sérgio Sílvia Simone Sofia Sônia Tainá Tatiana Tereza Thiago Túlio Valéria Vanessa
Vera Verônica Vicente Vinícius Vitória Vítor Wagner Yasmin Zélia
""".split()  # noqa: SIM905 (a name a line would be 250 lines)

LAST_NAMES = """
Abreu Aguiar Albuquerque Almeida Alves Amaral Andrade Araújo Assunção Azevedo Barbosa Barreto Barros Batista
Bezerra Borges Braga Brandão Brito Cabral Caldeira Camargo Cardoso Carvalho Castro Cavalcanti Coelho Conceição
Cordeiro Correia Costa Coutinho Cruz Cunha D'Ávila Damasceno Dias Duarte Esteves Farias Fernandes Ferreira Figueiredo
Fonseca Fontes Franco Freitas Furtado Galvão Garcia Gomes Gonçalves Guimarães Henriques Lacerda Leal Leão
Leite Lima Lopes Macedo Machado Magalhães Maia Malta Marques Martins Matos Medeiros Mello Mendes Mendonça
Menezes Miranda Monteiro Moraes Moreira Mota Moura Nascimento Neves Nóbrega Nogueira Nunes Oliveira Pacheco Paiva
Peixoto Pereira Pinheiro Pinto Pires Prado Queirós Ramos Rangel Rezende Ribeiro Rocha Rodrigues Sá Salgado
Sampaio Santana Sant'Anna Santos Siqueira Silva Silveira Simões Soares Sousa Tavares Teixeira Toledo Valadares
Vasconcelos Vaz Viana Vieira Vilela Xavier
""".split()  # noqa: SIM905

NAME_PARTICLES = ("da", "de", "do", "das", "dos", "e")

PRODUCT_NOUNS = (
    "Abajur",
    "Almofada",
    "Aspirador de Pó",
    "Batedeira",
    "Bicicleta",
    "Bola de Futebol",
    "Cadeira de Escritório",
    "Cafeteira Elétrica",
    "Caixa de Som",
    "Câmera Fotográfica",
    "Caneca de Porcelana",
    "Chaleira",
    "Churrasqueira",
    "Cobertor",
    "Colchão",
    "Cuia de Chimarrão",
    "Escrivaninha",
    "Estante",
    "Ferro de Passar",
    "Fogão 4 Bocas",
    "Fone de Ouvido",
    "Garrafa Térmica",
    "Guarda-Roupa",
    "Impressora",
    "Jogo de Lençóis",
    "Lâmpada de LED",
    "Liquidificador",
    "Luminária",
    "Máquina de Lavar",
    "Mesa de Jantar",
    "Micro-ondas",
    "Mochila",
    'Monitor 27"',
    "Notebook",
    "Panela de Pressão",
    "Poltrona",
    "Purificador de Água",
    "Rede de Dormir",
    "Relógio de Parede",
    "Sofá-Cama",
    "Tábua de Pão",
    "Tapete",
    "Teclado ABNT2",
    'Televisão 50"',
    "Ventilador",
    "Violão",
)

PRODUCT_ADJECTIVES = (
    "Básico",
    "Clássico",
    "Compacto",
    "Confortável",
    "de Viagem",
    "Dobrável",
    "Econômico",
    "Elegante",
    "Essencial",
    "Família",
    "Inox",
    "Moderno",
    "Premium",
    "Profissional",
    "Resistente",
    "Rústico",
    "Silencioso",
    "Turbo",
)

# What a careless format breaks: quotes of both kinds, backslashes, `\N` and `NULL` as words, tabs, line breaks
# inside a text, characters outside the basic plane, and an empty string, which is not a NULL.
PRODUCT_REMARKS = (
    "Garantia de 12 meses.",
    "Acompanha manual em português.",
    "Tensão: 127/220 V (bivolt).",
    'Conhecido como "o melhor da categoria".',
    "Modelo d'água, resistente à umidade.",
    "Dimensões:\taltura 40 cm\tlargura 25 cm\tprofundidade 18 cm",
    "Composição:\n- algodão 80%\n- poliéster 20%",
    r"Manual em C:\manuais\novo\tabela.pdf",
    r"Campo opcional: \N",
    "NULL não é um defeito; é a cor.",
    "Promoção: leve 3, pague 2; frete grátis!",
    "Não lavar à máquina, não torcer, não passar — secar à sombra.",
    "Preço sugerido: R$ 1.259,90",
    "Avaliação: ★★★★☆ 👍",
    "Linha do Windows\r\nlinha seguinte",
    '{\'chave\': "valor", "lista": [1, 2]}',
    "Percentual de fibra: 100% (±0,5%).",
    "",
)
