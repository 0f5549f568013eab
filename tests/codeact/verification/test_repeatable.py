"""Which blocks of code may run again to make what a checkpoint could not save."""

import pytest

from codeact.verification.repeatable import MOST_CHARS, why_not_again

SAFE = [
    "def squares(n):\n    for i in range(n):\n        yield i * i\nit = squares(9)\nnext(it)",
    "import sqlite3\ncon = sqlite3.connect(':memory:')\ncon.execute('create table t (a)').fetchall()",
    "import numpy as np\nrng = np.random.default_rng(7)\ndraws = (rng.normal() for _ in range(9))",
    "import pandas as pd\nchunks = pd.read_csv('data.csv', chunksize=10)\nfirst = next(chunks)",
    "f = open('notes.txt')\nf.readline()",
    "with open('out.txt', 'w') as f:\n    f.write('kept')",
    "import datetime\nday = datetime.date(2024, 2, 29)",
    "from itertools import islice, count\nit = islice(count(3), 10)",
    "def counter():\n    n = 0\n    def more():\n        nonlocal n\n        n += 1\n    return more\nmore = counter()",
    "answer = ask_server(question='what')\nlines = iter(answer.splitlines())",
    "class Node:\n    def __init__(self, left):\n        self.left = left\nnode = Node(None)",
    "known = 'current_state'\nprint(f'{known!r}: {1 / 3:.2f}')",
    "import statistics\nprint(statistics.mean([1, 2]))",
    "print(day.date(), day.strftime('%Y'), shown(date))",
]
UNSAFE = [
    "import os\nos.remove('x')",
    "import time\nbegan = time.time()",
    "import random\nit = iter([random.random()])",
    "import numpy as np\nit = iter(np.random.rand(3))",
    "import numpy as np\nrng = np.random.default_rng()",
    "import datetime\nit = iter([datetime.datetime.now()])",
    "import pandas as pd\nit = iter([pd.Timestamp('now')])",
    "import sqlite3\nsqlite3.connect(':memory:').execute('select CURRENT_TIMESTAMP')",
    "import sqlite3\nsqlite3.connect(':memory:').execute('select random()')",
    "import sqlite3\nsqlite3.connect(':memory:').execute('select date()')",
    "import sqlite3\nsqlite3.connect(':memory:').execute(\"select strftime('%s')\")",
    "from scipy import stats\nit = iter(stats.norm.rvs(size=3))",
    "import statistics\nit = iter(statistics.NormalDist().samples(3))",
    "import sympy\nit = iter([sympy.randprime(1, 9)])",
    "import networkx as nx\npaths = nx.all_simple_paths(nx.barabasi_albert_graph(9, 3), 0, 5)",
    "import uuid",
    "import requests\nrequests.post('http://example.com')",
    "import pandas as pd\npd.read_csv('https://example.com/x.csv')",
    "import subprocess\nsubprocess.run(['ls'])",
    "!pip install x",
    "%time 1",
    "import threading\nthreading.Thread(target=print).start()",
    "open('/dev/urandom', 'rb').read(4)",
    "open('../other')",
    "__import__('os')",
    "getattr(f, 'ge' + 't')",
    "eval('1')",
    "globals()['x'] = 1",
    "().__class__.__bases__",
    "import numpy as np\nnp.os.system('ls')",
    "from itertools import *",
    "from . import x",
    "x = id(y)",
    "x = hash(y)",
    "shell(commands=['date'])",
    "x = object()",
    "x = input()",
    "await something()",
    "async def f(): ...",
    "df.sample(3)",
    "x = (",
    "x = 1 #" + "a" * MOST_CHARS,
]


@pytest.mark.parametrize("code", SAFE)
def test_code_whose_effects_are_all_known_may_run_again(code: str) -> None:
    assert why_not_again(code) is None


DRAWS = [
    "import random\nit = iter([random.random(), random.randint(1, 6)])\nrandom.shuffle(cards)",
    "import numpy as np\nnp.random.seed(3)\nit = iter(np.random.rand(3))\nnp.random.permutation(3)",
]
NO_DRAWS = [
    "import random\nrandom.seed()",
    "import random\nown = random.Random()",
    "import random as r\nr.random()",
    "import random\nrandom.SystemRandom().random()",
    "import numpy as np\nnp.random.seed()",
    "import numpy as np\nrng = np.random.default_rng()",
    "import random, os\nos.urandom(3)",
    "x.random.random()",
    "df.sample(3)",
]


@pytest.mark.parametrize("code", DRAWS)
def test_code_that_draws_from_known_states_may_run_again(code: str) -> None:
    assert why_not_again(code, ["random", "numpy.random"]) is None
    assert why_not_again(code)


@pytest.mark.parametrize("code", NO_DRAWS)
def test_code_that_draws_from_elsewhere_does_not_run_again(code: str) -> None:
    assert why_not_again(code, ["random", "numpy.random"])


@pytest.mark.parametrize("code", UNSAFE)
def test_code_that_may_do_something_else_does_not_run_again(code: str) -> None:
    assert why_not_again(code)
