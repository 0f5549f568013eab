"""Tasks on files: read, convert, join, write, and leave the rest alone."""

import hashlib
import io
import zipfile
from collections import Counter

from codeact.evals.checks import all_of, equals, file_contains, file_equals, json_equals, number, runs
from codeact.evals.task import Task, code

__all__ = ["TASKS"]

TAG = frozenset({"files"})
ORDERS = b"id,customer,amount\n1,ann,20\n2,bob,35\n3,ann,5\n4,cid,12\n5,bob,8\n"
CUSTOMERS = b'[{"name": "ann", "country": "FR"}, {"name": "bob", "country": "DE"}, {"name": "cid", "country": "FR"}]'
TEXT = (
    b"It was the cat that saw the other cat first. The dog saw neither cat nor bird,\n"
    b"and the bird saw them all. The end.\n"
)
CONFIG = b"[server]\nhost = 10.0.0.1\nport = 8080\n\n[paths]\ndata = /srv/data\nlogs = /srv/logs\n"
ACCESS = b"".join(
    b'10.0.0.%d - - [01/Mar/2026:10:%02d:00 +0000] "GET /p%d HTTP/1.1" %d %d\n'
    % (n % 5 if n % 16 else 3, n % 60, n % 3, 404 if n % 8 == 0 else 200, 100 + n)
    for n in range(80)
)


def archive() -> bytes:
    """A zip file with three texts."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, text in (("one.txt", "12"), ("two.txt", "30"), ("sub/three.txt", "58")):
            file.writestr(zipfile.ZipInfo(name), text)
    return buffer.getvalue()


def most_missing() -> str:
    """The address with the most answers 404 in the log."""
    lines = [line.split() for line in ACCESS.decode().splitlines()]
    return Counter(line[0] for line in lines if line[8] == "404").most_common(1)[0][0]


TASKS = [
    Task(
        id="files/csv_to_json",
        questions=["Write orders.csv as orders.json: a list of objects, with id and amount as numbers."],
        files={"orders.csv": ORDERS},
        check=runs(
            "import json\nrows = json.load(open('orders.json'))\n"
            "assert rows[1] == {'id': 2, 'customer': 'bob', 'amount': 35}, rows\nassert len(rows) == 5"
        ),
        tags=TAG,
        reference=[
            code(
                "import csv, json\nrows = list(csv.DictReader(open('orders.csv')))\n"
                "for r in rows:\n    r['id'], r['amount'] = int(r['id']), int(r['amount'])\n"
                "json.dump(rows, open('orders.json', 'w'))"
            ),
            "It is in orders.json.",
        ],
        wrong=[
            code("import csv, json\njson.dump(list(csv.DictReader(open('orders.csv'))), open('orders.json', 'w'))"),
            "It is in orders.json.",
        ],
    ),
    Task(
        id="files/join",
        questions=["How much did customers of each country order in all? A JSON object, country to amount."],
        files={"orders.csv": ORDERS, "customers.json": CUSTOMERS},
        check=json_equals({"FR": 37, "DE": 43}),
        tags=TAG,
        reference=[
            code(
                "import csv, json, collections\nwhere = {c['name']: c['country'] for c in json.load(open('customers.json'))}\n"
                "total = collections.Counter()\nfor r in csv.DictReader(open('orders.csv')):\n"
                "    total[where[r['customer']]] += int(r['amount'])\nprint(json.dumps(total))"
            ),
            '{"FR": 37, "DE": 43}',
        ],
        wrong=['{"FR": 25, "DE": 43}'],
    ),
    Task(
        id="files/count_words",
        questions=["How often does the word 'cat' stand in story.txt, as a whole word? The number alone."],
        files={"story.txt": TEXT},
        check=number(3),
        tags=TAG,
        reference=[code("import re\nprint(len(re.findall(r'\\bcat\\b', open('story.txt').read())))"), "3"],
        wrong=["2"],
    ),
    Task(
        id="files/replace_in_place",
        questions=["In story.txt, replace each 'bird' by 'wren', and change nothing else."],
        files={"story.txt": TEXT},
        check=file_equals("story.txt", TEXT.decode().replace("bird", "wren")),
        tags=TAG,
        reference=[
            code("t = open('story.txt').read()\nopen('story.txt', 'w').write(t.replace('bird', 'wren'))"),
            "Done.",
        ],
        wrong=[code("t = open('story.txt').read()\nopen('story.txt', 'w').write(t.upper())"), "Done."],
    ),
    Task(
        id="files/configuration",
        questions=[
            "Set the port in config.ini to 9090, keep the rest, and tell me the path of the logs, nothing else."
        ],
        files={"config.ini": CONFIG},
        check=all_of(equals("/srv/logs"), file_contains("config.ini", "9090", "10.0.0.1", "/srv/data")),
        tags=TAG,
        reference=[
            code(
                "import configparser\nc = configparser.ConfigParser()\nc.read('config.ini')\nc['server']['port'] = '9090'\n"
                "c.write(open('config.ini', 'w'))\nprint(c['paths']['logs'])"
            ),
            "/srv/logs",
        ],
        wrong=["/srv/logs"],
    ),
    Task(
        id="files/web_log",
        questions=["Which address in access.log made the most requests that were answered 404? The address alone."],
        files={"access.log": ACCESS},
        check=equals(most_missing()),
        tags=TAG,
        reference=[
            code(
                "import collections\nlines = [l.split() for l in open('access.log')]\n"
                "count = collections.Counter(l[0] for l in lines if l[8] == '404')\nprint(count.most_common(1)[0][0])"
            ),
            most_missing(),
        ],
        wrong=["127.0.0.1"],
    ),
    Task(
        id="files/zip",
        questions=["box.zip has files with a number in each. What is their sum? The number alone."],
        files={"box.zip": archive()},
        check=number(100),
        tags=TAG,
        reference=[
            code("import zipfile\nz = zipfile.ZipFile('box.zip')\nprint(sum(int(z.read(n)) for n in z.namelist()))"),
            "100",
        ],
        wrong=["42"],
    ),
    Task(
        id="files/split",
        questions=["Split orders.csv into one file for each customer, such as ann.csv, each with the header."],
        files={"orders.csv": ORDERS},
        check=all_of(
            file_equals("ann.csv", "id,customer,amount\n1,ann,20\n3,ann,5\n"),
            file_equals("bob.csv", "id,customer,amount\n2,bob,35\n5,bob,8\n"),
            file_equals("cid.csv", "id,customer,amount\n4,cid,12\n"),
        ),
        tags=TAG,
        reference=[
            code(
                "head, *rows = open('orders.csv').read().splitlines()\n"
                "for name in {r.split(',')[1] for r in rows}:\n"
                "    open(name + '.csv', 'w').write('\\n'.join([head, *(r for r in rows if r.split(',')[1] == name)]) + '\\n')"
            ),
            "There are ann.csv, bob.csv and cid.csv.",
        ],
        wrong=[code("open('ann.csv', 'w').write('1,ann,20\\n3,ann,5\\n')"), "Done."],
    ),
    Task(
        id="files/markdown_table",
        questions=["Write orders.csv as a Markdown table into orders.md, ordered by amount, the largest first."],
        files={"orders.csv": ORDERS},
        check=runs(
            "lines = [l for l in open('orders.md').read().splitlines() if l.strip().startswith('|')]\n"
            "cells = [[c.strip() for c in l.strip().strip('|').split('|')] for l in lines]\n"
            "assert cells[0] == ['id', 'customer', 'amount'], cells\n"
            "assert [c[2] for c in cells[2:]] == ['35', '20', '12', '8', '5'], cells"
        ),
        tags=TAG,
        reference=[
            code(
                "import csv\nrows = sorted(csv.DictReader(open('orders.csv')), key=lambda r: -int(r['amount']))\n"
                "lines = ['| id | customer | amount |', '|---|---|---|']\n"
                "lines += [f\"| {r['id']} | {r['customer']} | {r['amount']} |\" for r in rows]\n"
                "open('orders.md', 'w').write('\\n'.join(lines) + '\\n')"
            ),
            "It is in orders.md.",
        ],
        wrong=[code("open('orders.md', 'w').write(open('orders.csv').read())"), "It is in orders.md."],
    ),
    Task(
        id="files/checksum",
        questions=["What are the first eight characters of the SHA-256 of story.txt, in hexadecimal? These alone."],
        files={"story.txt": TEXT},
        check=equals(hashlib.sha256(TEXT).hexdigest()[:8]),
        tags=TAG,
        reference=[
            code("import hashlib\nprint(hashlib.sha256(open('story.txt', 'rb').read()).hexdigest()[:8])"),
            hashlib.sha256(TEXT).hexdigest()[:8],
        ],
        wrong=["deadbeef"],
    ),
]
