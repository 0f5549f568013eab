"""What a kernel has besides its variables, for the test that each comes back, or is named as not saved.

Each case is a block of code, the expression by which it is compared, and the name under which it is listed as not
saved; "" if it comes back.
"""

__all__ = ["CASES"]

START = """
import array, atexit, builtins, codecs, collections, collections.abc, ctypes, dataclasses, decimal, enum, faulthandler
import functools, gc, html.entities, inspect, itertools, json, keyword, locale, logging, mimetypes, os, pickle, random
import signal, socket, string, subprocess, sys, textwrap, threading, time, warnings, weakref
import numpy as np, pandas as pd
from random import randint
from numpy.random import rand
"""

CASES = (
    (START, "1", ""),
    # ---- modules and the classes of libraries
    ("for n in ['xa', 'xb']: setattr(json, n, 3)", "json.xa, json.xb", ""),
    ("for n in ['dumps']: setattr(textwrap, 'fill', pickle.dumps)", "textwrap.fill is pickle.dumps", ""),
    ("for n in ['digits']: delattr(string, n)", "hasattr(string, 'digits')", "string.digits"),
    ("for n in ['zz']: setattr(collections.Counter, n, 5)", "collections.Counter.zz", ""),
    ("vars(string).update(punctuation='q')", "string.punctuation", ""),
    ("sys.modules['json.decoder'].FLAGS = 77", "sys.modules['json.decoder'].FLAGS", ""),
    ("html.entities.entitydefs['zz'] = 'Q'", "'zz' in html.entities.entitydefs", "html.entities.entitydefs"),
    ("keyword.kwlist.append('zz')", "keyword.kwlist[-1]", "keyword.kwlist"),
    ("for n in ['own_builtin']: setattr(builtins, n, len)", "own_builtin([1])", ""),
    ("sys.argv = ['a', 'b']", "sys.argv", "sys.argv"),
    ("sys.modules['own_json'] = json", "'own_json' in sys.modules", "own_json"),
    (
        "@pd.api.extensions.register_dataframe_accessor('mine')\nclass Mine:\n    def __init__(self, frame): pass",
        "hasattr(pd.DataFrame, 'mine')",
        "pandas.DataFrame.mine",
    ),
    ("json.JSONDecoder.__call__ = lambda self, text: 'own'", "json.JSONDecoder()('x')", ""),
    ("from collections import UserDict\nUserDict.__repr__ = lambda self: 'patched'", "UserDict().__repr__()", ""),
    ("for n in ['width']: setattr(textwrap.TextWrapper, n, 9)", "textwrap.TextWrapper.width", ""),
    ("import calendar\ncalendar.setfirstweekday(6)", "calendar.firstweekday()", "calendar.setfirstweekday"),
    ("from keyword import softkwlist\nsoftkwlist.append('zz')", "keyword.softkwlist[-1]", "keyword.softkwlist"),
    ("softkwlist += ['yy']", "softkwlist[-2:]", ""),
    # ---- objects that a library has once
    ("calendar.c.own = 5", "calendar.c.own", ""),
    ("for n in ['other']: setattr(calendar.c, n, 'x')", "calendar.c.other", ""),
    ("calendar.c.rows = [1]", "getattr(calendar.c, 'rows', None)", "calendar.c.rows"),
    ("logging.root.lines = {}", "hasattr(logging.root, 'lines')", "logging.root.lines"),
    ("repeated = os.environ; repeated.note = 'kept'", "os.environ.note", ""),
    ("def later():\n    from random import _inst\n    _inst.note = 6\nlater()", "random._inst.note", ""),
    # ---- modules of the workspace
    (
        "open('helper.py', 'w').write('''count = 0\ncache = {}\nkept = {}\nclass Box: made = 0\nbox = Box()\n"
        "def up():\n    global count\n    count += 1\n''')\nimport helper\nhelper.up()\nhelper.cache['a'] = 1\n"
        "kept = helper.kept\nhelper.Box.made += 1\nhelper.box.value = 3",
        "helper.cache",
        "helper.cache",
    ),
    ("1", "helper.count, helper.Box.made", ""),
    ("1", "hasattr(helper.box, 'value')", "helper.box"),
    ("1", "kept is helper.kept", ""),
    (
        "open('own.py', 'w').write(\"\"\"import pandas as pd\nclass Item: size = 1\nclass Lean: __slots__ = ('a',)\n"
        "def item(n):\n    made = Item()\n    made.n = n\n    return made\nitems = [item(n) for n in range(9)]\n"
        "one, other, lean, many = item(1), item({}), Lean(), set(range(9000))\n"
        'frame = pd.DataFrame({\'a\': [1]})\n""")\nfrom own import frame, items, lean, other\nimport own',
        "own.items[8].n, len(own.many)",
        "",
    ),
    ("1", "items is own.items", ""),
    ("frame['b'] = 2; lean.a = 5", "list(frame), lean.a", ""),
    ("other.n['k'] = 7", "other.n", ""),
    ("1", "own.other.n", "own.other"),
    (
        "open('again.py', 'w').write('TABLE = {1: 2}\\nclass Kind: pass\\nkind = Kind()\\n')\n"
        "import again, importlib\nagain.extra = [1]\n_n = importlib.reload(again)",
        "again.TABLE, type(again.kind) is again.Kind",
        "",
    ),
    ("1", "again.extra", "again.extra"),
    # ---- objects that a library has once
    ("random.seed(1)", "randint(0, 10**9) == random.Random(1).randint(0, 10**9)", ""),
    ("np.random.seed(1)", "rand() == np.random.RandomState(1).rand()", ""),
    ("generator = random._inst", "generator is random._inst", ""),
    ("own = np.random.default_rng(3); same = own; inside = {'own': own}", "own is same is inside['own']", ""),
    ("bits = own.bit_generator", "own.bit_generator is bits", ""),
    (
        "@dataclasses.dataclass\nclass Row:\n    x: int = 3",
        "dataclasses.fields(Row)[0].default_factory is dataclasses.MISSING",
        "",
    ),
    ("parameter = inspect.Parameter('a', inspect.Parameter.KEYWORD_ONLY)", "parameter.default is inspect._empty", ""),
    ("variables = os.environ", "variables is os.environ", ""),
    ("missing = object()\ndef given(x=missing): return x is missing", "given(), given(1)", ""),
    ("class E(enum.Enum): A = 1\nmember = E.A\ndef first(x=E.A): return x is E.A", "member is E.A, first()", ""),
    # ---- classes and functions of the notebook
    (
        "class Base:\n    known = []\n    def __init_subclass__(cls, **more): Base.known.append(cls)\n"
        "class One(Base): pass\nclass Two(Base): pass",
        "Base.known == [One, Two]",
        "",
    ),
    (
        "class Meta(type):\n    made = 0\n    def __new__(meta, name, bases, space):\n        Meta.made += 1\n"
        "        return super().__new__(meta, name, bases, space)\nclass Made(metaclass=Meta): pass",
        "Meta.made, type(Made) is Meta",
        "",
    ),
    ("class Base2: pass\nclass Zeta(Base2): pass\nclass Alpha(Base2): pass\nclass Middle(Zeta, Alpha): pass", "1", ""),
    ("1", "[kind.__name__ for kind in Base2.__subclasses__()]", ""),
    ("noted: list[int] = [1]\nalso: 'Base2'", "__annotations__['noted'], __annotations__['also']", ""),
    ("def f(a, b=[1]): return b\nf.__defaults__[0].append(2); f.note = 1", "f(1), f.note", ""),
    ("def g(): return 1\ng.__code__ = (lambda: 2).__code__", "g()", ""),
    ("class Old: kind = 1\nold = Old()\nclass Old: kind = 2", "old.kind, Old().kind, isinstance(old, Old)", ""),
    ("def local():\n    class Local: pass\n    return Local()\na = local(); b = type(a)()", "type(a) is type(b)", ""),
    (
        "@functools.lru_cache\ndef cached(x): return object()\nresult = cached(1)",
        "cached(1) is result",
        "cache of cached",
    ),
    (
        "class Lies:\n"
        "    def __init__(self, v=0): self.v = v\n    def __reduce__(self): return Lies, ()\nlies = Lies(5)",
        "lies.v",
        "Lies.v in lies",
    ),
    (
        "class Drops:\n    def __getstate__(self): return {'v': 1}\ndrops = Drops(); drops.v, drops.w = 1, 2",
        "vars(drops)",
        "Drops.w in drops",
    ),
    (
        "class Pops:\n    def __setstate__(self, state):\n        self.v = state.pop('v', 0)\n"
        "        vars(self).update(state)\npops = Pops(); pops.v = 1",
        "pops.v",
        "",
    ),
    (
        "try:\n    try: 1 / 0\n    except Exception as error: raise KeyError('k') from error\n"
        "except Exception as error: failure = error",
        "type(failure.__cause__)",
        "",
    ),
    ("1", "failure.__traceback__ is None", "__traceback__ in failure"),
    # ---- memory that two objects share
    (
        "numbers = array.array('d', [1, 2]); shown = np.frombuffer(numbers)",
        "(numbers.__setitem__(0, 9.0), shown[0])",
        "shown",
    ),
    (
        "text = bytearray(4); number = ctypes.c_int.from_buffer(text)",
        "(text.__setitem__(0, 9), number.value)",
        "number",
    ),
    (
        "frame = pd.DataFrame({'a': [1, 2, 3]}); column = frame['a']; column.iloc[0] = 9",
        "frame['a'].tolist(), column.tolist()",
        "",
    ),
    # ---- the process
    ("sys.path.insert(0, '/first'); sys.path.append('/last')", "sys.path[0], sys.path[-1]", ""),
    ("os.environ['TZ'] = 'Asia/Tokyo'; time.tzset()", "time.localtime(0).tm_hour", ""),
    ("_n = os.umask(0o077)", "(now := os.umask(0o077), os.umask(now))[0]", ""),
    ("_n = locale.setlocale(locale.LC_ALL, 'C.UTF-8')", "locale.setlocale(locale.LC_ALL)", ""),
    ("warnings.simplefilter('error', BytesWarning)", "warnings.filters[0][:3:2]", ""),
    ("decimal.DefaultContext.prec = 5", "decimal.DefaultContext.prec", ""),
    ("sys.setrecursionlimit(2345)", "sys.getrecursionlimit()", ""),
    ("%precision 3", "1", "%precision"),
    ("gc.set_threshold(500, 5, 5)", "gc.get_threshold()", ""),
    ("sys.setswitchinterval(0.25)", "sys.getswitchinterval()", ""),
    ("sys.set_int_max_str_digits(9000)", "sys.get_int_max_str_digits()", ""),
    ("socket.setdefaulttimeout(7)", "socket.getdefaulttimeout()", ""),
    ("np.setbufsize(16384)", "np.getbufsize()", ""),
    (
        "logging.getLogger('a.b').setLevel(10); logging.getLogger('a').propagate = False",
        "logging.getLogger('a.b').level, logging.getLogger('a').propagate",
        "",
    ),
    ("logging.basicConfig(level=logging.DEBUG)", "len(logging.root.handlers)", "logger root"),
    ("logging.disable(5)", "logging.root.manager.disable", ""),
    ("os.makedirs('empty/inner')", "os.path.isdir('empty/inner')", ""),
    ("_n = signal.signal(signal.SIGUSR1, lambda *a: None)", "callable(signal.getsignal(signal.SIGUSR1))", "SIGUSR1"),
    ("_n = atexit.register(len, [])", "atexit._ncallbacks() < 3", "atexit.register"),
    ("codecs.register(lambda name: None)", "1", "codecs.register"),
    ("mimetypes.add_type('a/b', '.zzz')", "mimetypes.guess_type('a.zzz')", "mimetypes.add_type"),
    ("faulthandler.enable()", "faulthandler.is_enabled()", "faulthandler.enable"),
    (
        "class Q: pass\n_n = collections.abc.Sequence.register(Q)",
        "isinstance(Q(), collections.abc.Sequence)",
        "collections.abc.Sequence.register",
    ),
    (
        "threading.Thread(target=time.sleep, args=(600,), name='mine', daemon=True).start()",
        "len([t for t in threading.enumerate() if t.name == 'mine'])",
        "thread mine",
    ),
    ("_n = subprocess.Popen(['sleep', '600']).pid", "1", "process sleep"),
    ("held = Q(); weakref.finalize(held, len, [])", "1", "weakref.finalize"),
    ("finalizer = weakref.finalize(held, len, [])", "finalizer.alive", "finalizer"),
    # ---- places in something
    ("counter = itertools.count(); _n = next(counter)", "next(counter)", ""),
    ("pairs = iter({'a': 1, 'b': 2}.items()); _n = next(pairs)", "list(pairs)", ""),
    ("base = iter([1, 2, 3, 4]); twice = zip(base, base); _n = next(base)", "next(twice), next(base)", ""),
    ("left, right = itertools.tee(iter([1, 2, 3])); _n = next(left)", "list(left), list(right)", ""),
)
