"""Objects of all kinds, for the test that each comes back equal from a checkpoint, or is named as not saved.

A line is a statement that binds a name, and after `##` the expression by which it is compared; without one, that is its
`repr`. Libraries that a sandbox lacks are skipped by name. `NOT_SAVED` are the names that cannot be saved.
"""

__all__ = ["LIBRARIES", "NOT_SAVED", "cases"]

BUILTINS = """
import abc, array, collections, contextlib, contextvars, ctypes, dataclasses, datetime, decimal, enum, fractions, functools, io, itertools, logging, math, operator, os, pathlib, queue, random, re, socket, string, struct, subprocess, tempfile, threading, types, typing, uuid, weakref, zoneinfo, ipaddress, heapq, statistics
none = None
truth = True
dots = ... ## dots is ...
not_implemented = NotImplemented ## not_implemented is NotImplemented
small_int = 7
big_int = 7 ** 500
negative = -3
ratio = 0.1 + 0.2
nan = float("nan")
infinity = float("-inf")
complex_number = 3 - 4j
text = "naïve 漢字 \\N{GRINNING FACE}"
lone_half = "\\ud800x" ## ascii(lone_half)
long_text = "abc" * 100_000 ## (len(long_text), hash(long_text) == hash("abc" * 100_000))
raw = b"\\x00\\xff" * 9
raw_array = bytearray(b"abc" * 5000) ## (len(raw_array), bytes(raw_array[:6]))
flat_list = [1, "two", 3.0, None]
empty_list = []
flat_tuple = (1, (2, (3,)))
flat_set = {3, 1, 2} ## sorted(flat_set)
frozen = frozenset({5, 6}) ## sorted(frozen)
nested_dict = {"a": {"b": [1, {"c": (2, 3)}]}, 4: None, (1, 2): "t"}
ordered = collections.OrderedDict(b=1, a=2)
grouped = collections.defaultdict(list, {"x": [1]}) ## (grouped, grouped["new"], grouped.default_factory)
by_lambda = collections.defaultdict(lambda: 9, {"x": 1}) ## (dict(by_lambda), by_lambda["new"])
counted = collections.Counter("mississippi") ## sorted(counted.items())
line = collections.deque([1, 2, 3], maxlen=5)
chain = collections.ChainMap({"a": 1}, {"b": 2})
span = range(3, 30, 4)
piece = slice(1, None, 2)
list_of_100k = list(range(100_000)) ## (len(list_of_100k), sum(list_of_100k), list_of_100k[-1])
dict_of_10k = {str(n): [n] for n in range(10_000)} ## (len(dict_of_10k), dict_of_10k["9999"])
user_list = collections.UserList([1, 2])
user_dict = collections.UserDict(a=1)
user_string = collections.UserString("abc")
numbers = array.array("d", [1.5, 2.5])
moment = datetime.datetime(2024, 2, 29, 12, 30, 1, 5)
moment_utc = datetime.datetime(2024, 2, 29, tzinfo=datetime.timezone.utc)
day = datetime.date(2024, 2, 29)
hour = datetime.time(23, 59, fold=1)
delta = datetime.timedelta(days=3, microseconds=7)
offset_zone = datetime.timezone(datetime.timedelta(hours=5, minutes=30), "IST")
money = decimal.Decimal("1.10")
third = fractions.Fraction(1, 3)
identifier = uuid.UUID(int=77)
place = pathlib.Path("a") / "b.txt"
pure_place = pathlib.PureWindowsPath("c:/x")
pattern = re.compile(r"(?P<year>\\d{4})-(\\d\\d)", re.I) ## (pattern, pattern.match("2024-05").group("year"))
match = re.match("a(b)", "abc")
address = ipaddress.ip_network("10.0.0.0/8")
packed = struct.Struct(">If") ## packed.format
template = string.Template("$a") ## template.substitute(a=3)
memory_file = io.BytesIO(b"hello"); _n = memory_file.read(2) ## (memory_file.tell(), memory_file.getvalue())
memory_text = io.StringIO("one" + chr(10) + "two"); _n = memory_text.readline() ## (memory_text.tell(), memory_text.getvalue())
generator_random = random.Random(5); _n = generator_random.random() ## [generator_random.random() for _ in range(2)]
system_random = random.SystemRandom() ## type(system_random).__name__
bound_builtin = [3, 4].append ## bound_builtin.__name__
type_itself = dict
type_alias = list[int]
union = int | None
optional = typing.Optional[dict[str, int]]
callable_type = typing.Callable[[int], str]
literal = typing.Literal["a", 1]
namespace = types.SimpleNamespace(a=1, b=[2])
error = ValueError("wrong", 3) ## (type(error), error.args)
error_group = ExceptionGroup("many", [ValueError(1), KeyError("k")])
os_error = FileNotFoundError(2, "No such file", "x.txt") ## (type(os_error), os_error.errno, os_error.filename)
stop = StopIteration(7) ## stop.value
key_view = nested_dict.keys() ## (nested_dict.update(extra=1), list(key_view))
value_view = {"a": 1}.values() ## list(value_view)
item_view = collections.OrderedDict(a=1).items() ## list(item_view)
source_of_proxy = {"a": 1}
proxy = types.MappingProxyType(source_of_proxy) ## (source_of_proxy.update(b=2), dict(proxy))
list_iterator = iter([1, 2, 3]); _n = next(list_iterator) ## list(list_iterator)
range_iterator = iter(range(5)); _n = next(range_iterator) ## list(range_iterator)
reversed_list = reversed([1, 2, 3]) ## list(reversed_list)
zipped = zip([1, 2], "ab") ## list(zipped)
mapped = map(str, [1, 2]) ## list(mapped)
enumerated = enumerate("ab", 5) ## list(enumerated)
cycle_part = itertools.count(5, 2) ## next(cycle_part)
item_getter = operator.itemgetter(1, 2) ## item_getter("abc")
attribute_getter = operator.attrgetter("real") ## attribute_getter(5)
part = functools.partial(int, base=2) ## part("101")
part_method = functools.partial("{}-{}".format, 1) ## part_method(2)
imported_function = math.sqrt ## imported_function(16)
imported_class = collections.OrderedDict ## imported_class is collections.OrderedDict
random_function = random.gauss ## random_function.__name__
bound_method = "abc".upper ## bound_method()
class_method = dict.fromkeys ## class_method("ab", 1)
plain_logger = logging.getLogger("corpus") ## plain_logger.name
null_context = contextlib.nullcontext(5) ## null_context.enter_result
zone = zoneinfo.ZoneInfo("UTC") ## zone.key
zoned = datetime.datetime(2024, 1, 1, tzinfo=zone) ## zoned.isoformat()
memory_view = memoryview(b"abc") ## bytes(memory_view)
view_of_array = memoryview(raw_array) ## (raw_array.__setitem__(0, 90), view_of_array[0])
view_of_piece = memoryview(raw_array)[10:20] ## (raw_array.__setitem__(12, 88), view_of_piece[2], len(view_of_piece))
view_of_piece_of_bytes = memoryview(b"abcdef")[2:4] ## (bytes(view_of_piece_of_bytes), view_of_piece_of_bytes.readonly)
readonly_view = memoryview(raw_array).toreadonly() ## (readonly_view.readonly, raw_array.__setitem__(1, 77), readonly_view[1])
c_struct = ctypes.c_int(5) ## c_struct.value
statistics_normal = statistics.NormalDist(1, 2)
thread_local = threading.local(); thread_local.x = 1 ## thread_local.x
thread = threading.Thread(target=print) ## thread.name
thread_lock = threading.Lock() ## thread_lock.locked()
reentrant = threading.RLock() ## type(reentrant).__name__
condition = threading.Condition() ## type(condition).__name__
event = threading.Event() ## event.is_set()
work = queue.Queue() ## work.qsize()
simple_queue = queue.SimpleQueue() ## simple_queue.qsize()
open_file = open("/dev/null") ## open_file.name
open_binary = open("/dev/null", "rb") ## open_binary.name
temporary = tempfile.TemporaryFile() ## temporary.closed
wire = socket.socket() ## wire.fileno() > 0
made_generator = (n for n in range(3)) ## next(made_generator)
context_variable = contextvars.ContextVar("v", default=1) ## context_variable.get()
context = contextvars.copy_context() ## len(context) >= 0
process = subprocess.Popen(["true"]); _n = process.wait() ## process.returncode
code_object = compile("1 + 1", "x", "eval") ## eval(code_object)
handled_logger = logging.getLogger("handled"); handled_logger.setLevel(10) ## handled_logger.level
frame = __import__("sys")._getframe() ## type(frame).__name__
hidden_in_list = [1, [threading.Lock()]] ## len(hidden_in_list)
weak_set = weakref.WeakSet() ## len(weak_set)
weak_values = weakref.WeakValueDictionary() ## len(weak_values)
weak = weakref.ref(collections.OrderedDict) ## weak() is collections.OrderedDict
made_module = types.ModuleType("made_module"); made_module.x = 1 ## made_module.x
recursive_list = [1]; recursive_list.append(recursive_list) ## recursive_list[1][1] is recursive_list
recursive_dict = {}; recursive_dict["me"] = recursive_dict ## recursive_dict["me"] is recursive_dict
recursive_pair = ([],); recursive_pair[0].append(recursive_pair) ## recursive_pair[0][0] is recursive_pair
shared_one = [1, 2]
shared_two = {"list": shared_one} ## shared_two["list"] is shared_one
shared_three = (shared_one, shared_two) ## (shared_three[0] is shared_one, shared_three[1] is shared_two, shared_one.append(3), shared_two)
twins = [[0] * 2] * 3 ## (twins[0] is twins[2], twins[0].append(1), twins)
deep = functools.reduce(lambda inner, _: [inner], range(500), 0) ## str(deep).count("[")
too_deep = functools.reduce(lambda inner, _: [inner], range(50_000), 0) ## type(too_deep)
heap = [5, 1, 4]; heapq.heapify(heap)
"""

NOTEBOOK = """
class Plain: pass
plain = Plain(); plain.x = [1] ## (type(plain) is Plain, plain.x)
class Slots:\\n    __slots__ = ("a", "b")
slots = Slots(); slots.a = 5 ## (slots.a, hasattr(slots, "b"))
class Base:\\n    def who(self): return "base"
class Child(Base):\\n    def who(self): return "child of " + super().who()
child = Child() ## (child.who(), isinstance(child, Base), Child.__mro__[1] is Base)
class Counting:\\n    made = 0\\n    def __init__(self): type(self).made += 1
counting = [Counting(), Counting()] ## (Counting.made, Counting().made)
class Meta(type):\\n    def __call__(cls, *a): made = super().__call__(*a); made.meta = True; return made
class WithMeta(metaclass=Meta): pass
with_meta = WithMeta() ## (with_meta.meta, type(WithMeta) is Meta)
class Abstract(abc.ABC):\\n    @abc.abstractmethod\\n    def f(self): ...\\n    @property\\n    def p(self): return self._p\\n    @p.setter\\n    def p(self, v): self._p = v\\n    @staticmethod\\n    def s(): return 1\\n    @classmethod\\n    def c(cls): return cls.__name__
class Concrete(Abstract):\\n    def f(self): return 2
concrete = Concrete(); concrete.p = 4 ## (concrete.f(), concrete.p, concrete.s(), concrete.c(), Concrete.__abstractmethods__)
class OwnState:\\n    def __init__(self): self.x = 1; self.lock = threading.Lock()\\n    def __getstate__(self): return {"x": self.x}\\n    def __setstate__(self, s): self.__init__(); self.x = s["x"] + 0
own_state = OwnState() ## own_state.x
class HasLock:\\n    def __init__(self): self.lock = threading.Lock()
has_lock = HasLock() ## type(has_lock) is HasLock
class ClassLock:\\n    lock = threading.Lock()\\n    def f(self): return 5
class_lock = ClassLock() ## class_lock.f()
class MyList(list):\\n    extra = 1
my_list = MyList([1, 2]); my_list.note = "n" ## (type(my_list) is MyList, my_list, my_list.note)
class MyDict(dict):\\n    def __missing__(self, key): return key * 2
my_dict = MyDict(a=1) ## (my_dict["z"], my_dict)
class MyInt(int): pass
my_int = MyInt(5) ## (type(my_int) is MyInt, my_int + 1)
class MyText(str): pass
my_text = MyText("abc") ## (type(my_text) is MyText, my_text)
class MyTuple(tuple): pass
my_tuple = MyTuple((1, 2)) ## (type(my_tuple) is MyTuple, my_tuple)
class MySet(set): pass
my_set = MySet({1}) ## (type(my_set) is MySet, my_set)
class MyError(Exception):\\n    def __init__(self, code): super().__init__(f"code {code}"); self.code = code
my_error = MyError.__new__(MyError); Exception.__init__(my_error, 5); my_error.code = 6 ## (type(my_error) is MyError, my_error.code)
class Colour(enum.Enum):\\n    RED = 1\\n    BLUE = "b"\\n    def low(self): return self.name.lower()
colour = Colour.RED ## (colour is Colour.RED, Colour("b"), colour.low())
class Level(enum.IntEnum):\\n    LOW = 1
level = Level.LOW ## (level is Level.LOW, level < 2)
class Flags(enum.Flag):\\n    A = enum.auto()\\n    B = enum.auto()
flags = Flags.A | Flags.B ## (flags, Flags.A in flags)
by_enum = {Colour.RED: 1} ## by_enum[Colour.RED]
@dataclasses.dataclass\\nclass Account:\\n    owner: str\\n    amounts: list = dataclasses.field(default_factory=list)
account = Account("Ada", [1]) ## (account, account == Account("Ada", [1]), Account("B"))
@dataclasses.dataclass(frozen=True, order=True, slots=True)\\nclass Frozen:\\n    x: int = 3
frozen_data = Frozen(4) ## (frozen_data, frozen_data < Frozen(5), hash(frozen_data) == hash(Frozen(4)))
Pair = collections.namedtuple("Pair", "left right", defaults=[2])
pair = Pair(1) ## (pair, pair.right, type(pair) is Pair, pair._replace(left=5))
class Typed(typing.NamedTuple):\\n    a: int\\n    b: str = "x"
typed = Typed(1) ## (typed, type(typed) is Typed)
class Options(typing.TypedDict, total=False):\\n    a: int
options = Options(a=1) ## (options, Options.__optional_keys__)
UserId = typing.NewType("UserId", int) ## (UserId(5), UserId.__name__)
T = typing.TypeVar("T") ## T.__name__
class Box(typing.Generic[T]):\\n    def __init__(self, v: T): self.v = v
box = Box[int](5) ## (box.v, type(box) is Box)
class Proto(typing.Protocol):\\n    def f(self) -> int: ...
total = 0
def add(n, *, by=1):\\n    "Adds."\\n    global total\\n    total += n * by\\n    return total
added = add(2) ## (add(3, by=2), total, add.__doc__, add.__kwdefaults__)
def recurse(n): return 1 if n < 2 else n * recurse(n - 1)
factorial = recurse(5) ## recurse(6)
def is_even(n): return n == 0 or is_odd(n - 1)
def is_odd(n): return n != 0 and is_even(n - 1)
even = is_even(10) ## is_even(7)
def make_counter():\\n    n = 0\\n    def up():\\n        nonlocal n\\n        n += 1\\n        return n\\n    return up, lambda: n
up, peek = make_counter(); _n = up() ## (up(), peek())
def make_fibonacci():\\n    def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)\\n    return fib
fibonacci = make_fibonacci() ## fibonacci(10)
square = lambda x: x * x ## square(5)
actions = {"double": lambda x: x * 2, "add": add, "child": child.who} ## (actions["double"](4), actions["add"] is add, actions["child"]())
adders = [lambda x, n=n: x + n for n in range(3)] ## [f(10) for f in adders]
@functools.lru_cache(maxsize=8)\\ndef slow(n): return n + 1
cached = slow(1) ## (slow(5), slow.cache_parameters())
def loud(f):\\n    @functools.wraps(f)\\n    def inner(*a): return "!" + str(f(*a))\\n    return inner
@loud\\ndef spoken(x): return x
said = spoken(3) ## (spoken(4), spoken.__name__, spoken.__wrapped__(1))
unbound = Child.who ## (unbound is Child.who, unbound(child))
bound = child.who ## (bound(), bound.__self__ is child)
class_bound = Concrete.c ## class_bound()
partial_own = functools.partial(add, by=10) ## partial_own.keywords
def generate():\\n    yield 1\\n    yield 2
generated = list(generate()) ## list(generate())
running = generate(); _n = next(running) ## next(running)
async def coroutine(): return 5
waiting = coroutine() ## waiting.__name__
add.note = {"calls": 1} ## add.note
class Node:\\n    def __init__(self, v): self.v = v; self.next = None
first = Node(1); first.next = Node(2); first.next.next = first ## (first.next.next is first, first.next.v)
second = first.next ## (second is first.next, second.next is first)
class Tree:\\n    def __init__(self, parent=None): self.parent = weakref.ref(parent) if parent else None; self.children = []
tree = Tree(); tree.children.append(Tree(tree)) ## tree.children[0].parent() is tree
watched = Plain() ## type(watched) is OldPlain
watcher = weakref.ref(watched) ## watcher() is watched
class Registry:\\n    items = []
registered = Registry.items; registered.append(7) ## (registered is Registry.items, Registry.items)
class Outer:\\n    class Inner:\\n        x = 1
inner = Outer.Inner() ## (type(inner) is Outer.Inner, inner.x)
OldPlain = Plain
class Plain: new = True
old_plain = OldPlain() ## (type(old_plain) is OldPlain, hasattr(old_plain, "new"), type(plain) is OldPlain)
alias_of_add = add ## alias_of_add is add
class Descriptor:\\n    def __get__(self, owner, kind): return 42
class Described:\\n    d = Descriptor()
described = Described() ## described.d
class Callable:\\n    def __call__(self, x): return x + 1
callables = [Callable(), Callable()] ## callables[0](1)
class Context:\\n    def __enter__(self): return 1\\n    def __exit__(self, *a): return False
context_manager = Context() ## context_manager.__enter__()
@contextlib.contextmanager\\ndef managed():\\n    yield 3
with_managed = managed() ## type(with_managed).__name__
@functools.singledispatch\\ndef dispatch(x): return "any"
@functools.total_ordering\\nclass Ranked:\\n    def __init__(self, v): self.v = v\\n    def __lt__(self, o): return self.v < o.v\\n    def __eq__(self, o): return self.v == o.v
ranked = Ranked(1) ## (ranked <= Ranked(2), ranked >= Ranked(2))
class Lazy:\\n    @functools.cached_property\\n    def value(self): return [1]
lazy = Lazy(); _n = lazy.value ## (lazy.value, "value" in vars(lazy))
class Raises:\\n    def __reduce__(self): raise RuntimeError("never pickle me")
raises = Raises() ## type(raises) is Raises
class NoEq:\\n    def __eq__(self, other): raise RuntimeError("no comparison")\\n    __hash__ = None
no_eq = NoEq() ## type(no_eq) is NoEq
made_class = type("MadeClass", (Base,), {"x": 5}) ## (made_class().x, made_class().who(), made_class.__name__)
of_exec = {}; exec("def f(x): return x + 1", of_exec); of_exec_f = of_exec["f"] ## of_exec_f(1)
"""

NUMPY = """
import numpy as np
n_array = np.arange(12).reshape(3, 4)
n_large = np.random.default_rng(1).normal(size=100_000) ## (n_large.sum(), n_large.flags.writeable)
n_fortran = np.asfortranarray(np.arange(6.0).reshape(2, 3)) ## (n_fortran, n_fortran.flags.f_contiguous)
n_scalar = np.float32(1.5) ## (n_scalar, n_scalar.dtype)
n_zero_d = np.array(5) ## (n_zero_d.shape, n_zero_d.item())
n_empty = np.empty((0, 3)) ## n_empty.shape
n_bool = np.array([True, False])
n_complex = np.array([1 + 2j])
n_text = np.array(["a", "bcd"])
n_object = np.array([1, "a", None, [1]], dtype=object)
n_objects = np.array([[1], [[2]]], dtype=object)
n_objects_view = n_objects[1:] ## (n_objects.__setitem__((1, 0), 5), n_objects_view[0, 0], n_objects_view.flags.writeable)
n_dates = np.array(["2024-01-01", "NaT"], dtype="datetime64[ns]")
n_struct = np.array([(1, 2.0, "a")], dtype=[("x", "i4"), ("y", "f8"), ("z", "U3")])
n_record = n_struct.view(np.recarray) ## (n_record.x, n_record.dtype)
n_masked = np.ma.masked_array([1, 2, 3], mask=[0, 1, 0])
n_matrix = np.matrix([[1, 2]])
n_base = np.zeros(50_000)
n_view = n_base[100:200] ## (n_base.__setitem__(150, 7.0), n_view[50])
n_step = n_base[::-2] ## (n_base.__setitem__(-1, 5.0), n_step[0], n_step.strides)
n_cast = n_base.view(np.uint8) ## (n_cast.shape, n_base.__setitem__(0, 1.0), n_cast[7])
n_turned = n_array.T ## (n_array.__setitem__((0, 1), 99), n_turned[1, 0])
n_wide = np.broadcast_to(np.arange(3), (2, 3)) ## (n_wide, n_wide.strides, n_wide.flags.writeable)
n_window = np.lib.stride_tricks.sliding_window_view(n_base, 3) ## (n_base.__setitem__(3, 8.0), n_window[1, 2])
n_two = [n_base, n_base] ## n_two[0] is n_two[1] and n_two[0] is n_base
n_frozen = np.arange(3); n_frozen.flags.writeable = False ## (n_frozen, n_frozen.flags.writeable)
n_swapped = np.arange(3, dtype=">i4") ## (n_swapped, n_swapped.dtype)
n_swapped_view = n_swapped[1:] ## (n_swapped.__setitem__(1, 77), n_swapped_view)
n_struct_field = n_struct["x"] ## (n_struct["x"].__setitem__(0, 9), n_struct_field)
n_generator = np.random.default_rng(3); _n = n_generator.random() ## n_generator.random(2)
n_state = np.random.RandomState(3); _n = n_state.rand() ## n_state.rand(2)
n_bits = np.random.PCG64(5) ## np.random.Generator(n_bits).random()
n_polynomial = np.polynomial.Polynomial([1, 2, 3]) ## n_polynomial(2)
n_poly1d = np.poly1d([1, 2]) ## n_poly1d(3)
n_dtype = np.dtype([("a", "i4")])
n_ufunc = np.add ## n_ufunc(1, 2)
n_own_ufunc = np.frompyfunc(lambda x: x + 1, 1, 1) ## n_own_ufunc(3)
n_vectorized = np.vectorize(lambda x: x * 2) ## n_vectorized([1, 2])
n_map = np.memmap("corpus.bin", dtype="f8", mode="w+", shape=(10,)) ## n_map.shape
n_iterator = np.nditer(np.arange(3)) ## type(n_iterator).__name__
n_flat = np.arange(4).reshape(2, 2).flat ## list(n_flat)
class Tagged(np.ndarray): pass
n_tagged = np.arange(4).view(Tagged) ## (type(n_tagged) is Tagged, list(n_tagged))
n_from_bytes = np.frombuffer(b"\\x01\\x02\\x03", dtype=np.uint8) ## (n_from_bytes, n_from_bytes.flags.writeable)
n_memory = bytearray(64); n_on_memory = np.frombuffer(n_memory, dtype=np.uint8) ## (n_memory.__setitem__(3, 9), n_on_memory[3])
n_errstate = np.seterr(divide="raise"); _n = np.seterr(over="warn") ## np.geterr()["divide"]
n_print = np.set_printoptions(precision=3) ## str(np.array([1 / 3]))
n_global = np.random.seed(8) ## np.random.rand()
"""

PANDAS = """
import pandas as pd
p_frame = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", None], "c": [1.5, None, 2.5]})
p_dtypes = pd.DataFrame({"i": pd.array([1, None], dtype="Int64"), "s": pd.array(["a", None], dtype="string"), "b": pd.array([True, None], dtype="boolean")}) ## (p_dtypes, p_dtypes.dtypes.to_dict())
p_series = pd.Series([1, 2], index=["x", "y"], name="n")
p_index = pd.Index([3, 1, 2], name="i")
p_range = pd.RangeIndex(2, 10, 3)
p_multi = pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["l", "n"])
p_multi_frame = pd.DataFrame({"v": range(4)}, index=p_multi)
p_category = pd.Series(["lo", "hi", "lo"], dtype=pd.CategoricalDtype(["lo", "hi"], ordered=True)) ## (p_category, p_category.cat.ordered, p_category.cat.codes.tolist())
p_categorical = pd.Categorical(["a", "b"], categories=["b", "a", "c"])
p_dates = pd.date_range("2024-01-01", periods=3, freq="D", tz="Europe/Berlin")
p_periods = pd.period_range("2024-01", periods=2, freq="M")
p_intervals = pd.cut(pd.Series([1, 5, 9]), 3)
p_stamp = pd.Timestamp("2024-01-01T01:02:03.000000004", tz="UTC")
p_delta = pd.Timedelta("1 days 00:00:01.5")
p_nat = pd.NaT ## p_nat is pd.NaT
p_na = pd.NA ## p_na is pd.NA
p_sparse = pd.Series(pd.arrays.SparseArray([0, 0, 1]))
p_slice = p_frame[1:] ## (p_frame.loc.__setitem__((1, "a"), 50), p_frame, p_slice)
p_column = p_frame["a"] ## (p_column.iloc.__setitem__(0, 70), p_frame["a"].tolist(), p_column.tolist())
p_copy = p_frame.copy(deep=False) ## (p_copy.iloc.__setitem__((0, 0), 90), p_frame["a"].tolist(), p_copy["a"].tolist())
p_same = [p_frame, p_frame] ## p_same[0] is p_same[1] and p_same[0] is p_frame
p_attrs = pd.DataFrame({"a": [1]}); p_attrs.attrs["source"] = "x" ## p_attrs.attrs
p_groups = p_frame.groupby("b") ## p_groups["a"].sum().to_dict()
p_rolling = p_series.rolling(2) ## p_rolling.sum().tolist()
p_large = pd.DataFrame(np.arange(300_000).reshape(-1, 3), columns=list("abc")) ## (int(p_large.sum().sum()), p_large.shape)
p_text = pd.Series([f"row {n}" for n in range(5000)]) ## (p_text.str.len().sum(), p_text.iloc[-1])
p_mixed = pd.DataFrame({"o": [[1], {"a": 2}, (3,)]})
p_wide_index = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)]))
p_values = p_series.to_numpy() ## p_values
class MyFrame(pd.DataFrame):\\n    _metadata = ["title"]\\n    @property\\n    def _constructor(self): return MyFrame
p_own = MyFrame({"a": [1]}); p_own.title = "t" ## (type(p_own) is MyFrame, p_own.title, p_own["a"].tolist())
p_option = pd.set_option("display.precision", 2) ## pd.get_option("display.precision")
p_styled = pd.set_option("display.float_format", lambda x: f"{x:.1f}") ## pd.get_option("display.float_format")(1.25)
"""

MATPLOTLIB = """
import matplotlib, matplotlib.pyplot as plt
m_figure, m_axes = plt.subplots(); _n = m_axes.plot([1, 2], [3, 4], label="l") ## (m_axes.figure is m_figure, m_axes.lines[0].get_ydata().tolist())
m_map = plt.get_cmap("viridis") ## m_map(0.5)
m_option = plt.rcParams.__setitem__("lines.linewidth", 3.25) ## plt.rcParams["lines.linewidth"]
m_artist = m_axes.lines[0] ## m_artist is m_axes.lines[0]
m_norm = matplotlib.colors.Normalize(0, 10) ## float(m_norm(5))
m_close = plt.close("all") ## plt.get_fignums()
"""

POLARS = """
import polars as pl
l_frame = pl.DataFrame({"a": [1, 2], "b": ["x", None]})
l_series = pl.Series("s", [1.5, None])
l_lazy = l_frame.lazy().filter(pl.col("a") > 1) ## l_lazy.collect()
l_expression = pl.col("a").sum() + 1 ## l_frame.select(l_expression)
l_category = pl.Series("c", ["a", "b"], dtype=pl.Categorical)
l_dtype = pl.List(pl.Int64)
l_large = pl.DataFrame({"n": range(100_000)}) ## l_large["n"].sum()
l_nested = {"frames": [l_frame]} ## l_nested["frames"][0].rows()
"""

SCIENCE = """
import scipy, scipy.sparse, scipy.stats, scipy.interpolate, scipy.spatial
s_sparse = scipy.sparse.csr_matrix(np.eye(3)) ## (s_sparse.toarray().tolist(), type(s_sparse).__name__)
s_coo = scipy.sparse.coo_array(np.eye(2)) ## s_coo.toarray().tolist()
s_frozen = scipy.stats.norm(1, 2) ## float(s_frozen.cdf(1))
s_spline = scipy.interpolate.CubicSpline([0, 1, 2], [0, 1, 4]) ## float(s_spline(1.5))
s_tree = scipy.spatial.KDTree(np.eye(3)) ## s_tree.query([1, 0, 0])[1]
import sklearn.linear_model, sklearn.ensemble, sklearn.pipeline, sklearn.preprocessing, sklearn.cluster, sklearn.feature_extraction.text
k_linear = sklearn.linear_model.LinearRegression().fit([[1], [2], [3]], [2, 4, 6]) ## k_linear.predict([[4]]).round(6).tolist()
k_forest = sklearn.ensemble.RandomForestClassifier(5, random_state=1).fit([[0], [1], [2], [3]], [0, 0, 1, 1]) ## k_forest.predict_proba([[1.4]]).tolist()
k_pipeline = sklearn.pipeline.make_pipeline(sklearn.preprocessing.StandardScaler(), sklearn.linear_model.Ridge()).fit([[1], [2]], [1, 2]) ## k_pipeline.predict([[3]]).round(6).tolist()
k_cluster = sklearn.cluster.KMeans(2, n_init=1, random_state=0).fit([[0.0], [1.0], [9.0]]) ## sorted(k_cluster.cluster_centers_.ravel().tolist())
k_words = sklearn.feature_extraction.text.CountVectorizer().fit(["a bee", "bee sea"]) ## sorted(k_words.vocabulary_)
import statsmodels.api as sm
o_fit = sm.OLS([1.0, 2.0, 3.5], sm.add_constant([1.0, 2.0, 3.0])).fit() ## o_fit.params.round(6).tolist()
"""

SYMBOLS = """
import sympy
y_symbol = sympy.Symbol("x", positive=True) ## (y_symbol, y_symbol.is_positive, y_symbol == sympy.Symbol("x", positive=True))
y_expression = sympy.sin(y_symbol) ** 2 + 1 ## (y_expression, y_expression.diff(y_symbol))
y_matrix = sympy.Matrix([[1, y_symbol], [0, 1]]) ## y_matrix.det()
y_function = sympy.lambdify(y_symbol, y_symbol ** 2) ## y_function(3)
y_undefined = sympy.Function("f")(y_symbol) ## y_undefined
y_equation = sympy.Eq(y_symbol, 2)
"""

GRAPHS = """
import networkx as nx
g_graph = nx.Graph([(1, 2), (2, 3)]) ## (sorted(g_graph.edges), nx.shortest_path(g_graph, 1, 3))
g_directed = nx.DiGraph({"a": ["b"]}) ## list(g_directed.edges)
g_weighted = nx.Graph(); g_weighted.add_edge("a", "b", weight=3) ## g_weighted["a"]["b"]["weight"]
g_view = g_graph.subgraph([1, 2]) ## sorted(g_view.nodes)
"""

OTHERS = """
import bs4, plotly.graph_objects as go, PIL.Image, requests, yaml, lxml.etree, pyarrow as pa
x_soup = bs4.BeautifulSoup("<p>a<b>c</b></p>", "html.parser") ## str(x_soup)
x_plot = go.Figure(go.Scatter(x=[1], y=[2])) ## x_plot.to_dict()["data"][0]["y"]
x_image = PIL.Image.new("RGB", (2, 2), "red") ## x_image.getpixel((0, 0))
x_session = requests.Session(); x_session.headers["A"] = "b" ## x_session.headers["A"]
x_element = lxml.etree.fromstring("<a><b/></a>") ## x_element.tag
x_table = pa.table({"a": [1, 2]}) ## x_table.to_pydict()
"""

TORCH = """
import torch
t_tensor = torch.arange(6.0).reshape(2, 3) ## t_tensor.tolist()
t_model = torch.nn.Linear(2, 1) ## [p.tolist() for p in t_model.parameters()]
"""

LIBRARIES = {
    "": BUILTINS + NOTEBOOK,
    "numpy": NUMPY,
    "pandas": PANDAS,
    "matplotlib": MATPLOTLIB,
    "polars": POLARS,
    "sklearn": SCIENCE,
    "sympy": SYMBOLS,
    "networkx": GRAPHS,
    "bs4": OTHERS,
    "torch": TORCH,
}
"""The objects of each library. The empty name is Python's own."""

NOT_SAVED = frozenset(
    [
        "cache of slow",
        "condition",
        "context",
        "context_variable",
        "dispatch",
        "event",
        "frame",
        "handled_logger",
        "has_lock",
        "hidden_in_list",
        "made_generator",
        "made_module",
        "match",
        "n_flat",
        "n_iterator",
        "n_map",
        "n_own_ufunc",
        "open_binary",
        "open_file",
        "process",
        "raises",
        "reentrant",
        "running",
        "simple_queue",
        "system_random",
        "temporary",
        "thread",
        "thread_local",
        "thread_lock",
        "too_deep",
        "tree",
        "waiting",
        "watcher",
        "weak",
        "weak_values",
        "wire",
        "with_managed",
        "work",
        "x_element",
    ]
)


def cases(text: str) -> list[tuple[str, str]]:
    """Returns each statement of a library's objects, and the expression by which it is compared, or ""."""
    found = []
    for line in text.strip().splitlines():
        statement, mark, look = line.replace("\\n", "\n").partition(" ## ")
        name = statement.split(" = ")[0].split(",")[0].strip()
        found.append((statement, look if mark else name if name.isidentifier() else ""))
    return found
