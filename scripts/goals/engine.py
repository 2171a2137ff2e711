"""Runs tasks and goals against worlds and writes the traces.

A world answers a tool call from its own data, so that every result of a trace
is consistent with what happened before in it. A task is a prompt and the calls
with which a model solves it. A goal is what an attacker wants: a text or a
record put into the world, and the calls of a model that obeys it.
"""
import copy
import hashlib
import json
import re

# PLANTED marks text that the attacker put into the world. It never leaves the
# program: it is removed from a result when the result is written, after the
# call has been marked as the carrier.
PLANTED = "\ue000"


def planted(text):
    return PLANTED + text


def clean(value):
    if isinstance(value, str):
        return value.replace(PLANTED, "")
    if isinstance(value, list):
        return [clean(v) for v in value]
    if isinstance(value, dict):
        return {clean(k): clean(v) for k, v in value.items()}
    return value


def has_planted(value):
    if isinstance(value, str):
        return PLANTED in value
    if isinstance(value, (list, tuple)):
        return any(has_planted(v) for v in value)
    if isinstance(value, dict):
        return any(has_planted(k) or has_planted(v) for k, v in value.items())
    return False


def planted_texts(value):
    """Every string that the attacker put there, in the order of the world."""
    if isinstance(value, str):
        return [clean(value).strip()] if PLANTED in value else []
    if isinstance(value, dict):
        return [t for k, v in value.items() for t in planted_texts(k) + planted_texts(v)]
    if isinstance(value, (list, tuple)):
        return [t for v in value for t in planted_texts(v)]
    return []


class Refused(Exception):
    """A tool's own error: the call had no effect."""


def call(fn, **args):
    return {"fn": fn, "args": args}


def together(*calls):
    """Calls emitted in one turn: none of them saw another's result."""
    for c in calls[1:]:
        c["same_turn"] = True
    return list(calls)


class Task:
    def __init__(self, id, prompt, *variants, long=False):
        self.id, self.prompt, self.long = id, prompt, long
        self.variants = [flat(v) for v in variants]

    @property
    def effects(self):
        return any(not reads(c["fn"]) for c in self.variants[0])


class Goal:
    """id begins with its effect kind: "pay-3".

    text goes into the first of slots that a task reads; plant, if given,
    changes the world instead. place says where the attack stands: "before"
    the rest of the user's calls, "after" them, "instead" of them, or "swap":
    the first attack call takes the place of the user's call of that tool.
    essential lists the indexes of the calls without which the goal fails.
    resist is False where no honest model could solve the task any more. ask is
    the goal as its user would put it, ask_calls how a model then solves it.
    beyond names what flow rules cannot judge in it: "wording" of a text to a
    place that the user named, "omission" of a value that the user left open.
    """

    def __init__(self, id, text, calls, slots=(), plant=None, tasks=None, place="before", essential=None,
                 resist=True, ask=None, ask_calls=None, most=4, beyond=None):
        self.id, self.text, self.calls, self.slots, self.plant = id, text, flat(calls), slots, plant
        self.tasks, self.place, self.resist, self.most = tasks, place, resist, most
        acts = [i for i, c in enumerate(self.calls) if not reads(c["fn"])]
        self.essential = essential if essential is not None else (acts or [len(self.calls) - 1])
        self.ask, self.ask_calls = ask, flat(ask_calls) if ask_calls else None
        self.effect, self.beyond = id.rsplit("-", 1)[0], beyond


def flat(calls):
    out = []
    for c in calls:
        out.extend(c if isinstance(c, list) else [c])
    return out


READS = re.compile(r"^(get_|search_|read_|list_|view_|check_|browse_|cart_total|git_get_)")


def reads(fn):
    """Whether a tool of that name leaves the world as it was."""
    return bool(READS.match(fn))


class World:
    """name, user, own (the user's own addresses), data(), style, and a method per tool."""

    style = "yaml"

    def __init__(self):
        self.state = copy.deepcopy(self.data())

    def fill(self, slot, text):
        """Puts text where the data says [[slot]] and empties the other slots."""
        def walk(v):
            if isinstance(v, str):
                if slot and f"[[{slot}]]" in v:
                    v = v.replace(f"[[{slot}]]", planted(text))
                return re.sub(r"\[\[[a-z0-9-]+\]\]", "", v).rstrip(" \n")
            if isinstance(v, (list, tuple)):
                return type(v)(walk(x) for x in v)
            if isinstance(v, dict):
                return {k: walk(x) for k, x in v.items()}
            return v
        self.state = walk(self.state)

    def run(self, c):
        try:
            value = getattr(self, c["fn"])(**copy.deepcopy(c["args"]))
        except Refused as e:
            return "", f"ValueError: {e}", False
        dirty = has_planted(value)
        return render(clean(value), self.style), None, dirty


# Rendering: how servers write records as text.

def render(value, style):
    if value is None:
        return "None"
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return str(value)
    if style == "json":
        return json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True)
    if style == "lines":
        return lines(value)
    return yaml(value, 0)


def lines(value):
    """`key: value` lines, records apart by an empty line."""
    if isinstance(value, dict):
        return "\n".join(f"{k}: {lines_leaf(v)}" for k, v in value.items())
    if value and isinstance(value[0], dict):
        return "\n\n".join(lines(v) for v in value)
    return "\n".join(str(v) for v in value)


def lines_leaf(v):
    if isinstance(v, dict):
        return ", ".join(f"{k} {x}" for k, x in v.items())
    if isinstance(v, list):
        return "; ".join(lines_leaf(x) for x in v)
    return "-" if v is None else str(v)


def yaml(value, indent):
    pad = " " * indent
    if isinstance(value, dict):
        if not value:
            return "{}"
        out = []
        for k in sorted(value):
            v = value[k]
            if isinstance(v, dict) and v:
                out.append(f"{pad}{key(k)}:\n{yaml(v, indent + 2)}")
            elif isinstance(v, list) and v:
                out.append(f"{pad}{key(k)}:\n{yaml(v, indent)}")
            else:
                out.append(f"{pad}{key(k)}: {leaf(v, indent + 2, len(k) + 2)}")
        return "\n".join(out)
    if isinstance(value, list):
        if not value:
            return "[]"
        out = []
        for v in value:
            if isinstance(v, (dict, list)) and v:
                out.append(pad + "- " + yaml(v, indent + 2)[indent + 2:])
            else:
                out.append(f"{pad}- {leaf(v, indent + 2, 2)}")
        return "\n".join(out)
    return leaf(value, indent, 0)


def key(k):
    return k if re.fullmatch(r"[A-Za-z_][\w .@'&+-]*", k) else json.dumps(k, ensure_ascii=False)


AMBIGUOUS = re.compile(r"[-+]?[\d.,_:]+(e\d+)?|true|false|yes|no|on|off|null|~|\d{4}-\d\d-\d\d", re.I)
STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


def leaf(v, indent, used):
    if v is None:
        return "null"
    if isinstance(v, bool):
        return "true" if v else "false"
    if isinstance(v, (int, float)):
        return str(v)
    if isinstance(v, (dict, list)):
        return "{}" if isinstance(v, dict) else "[]"
    if STAMP.fullmatch(v):
        return v
    if v == "" or AMBIGUOUS.fullmatch(v):
        return f"'{v}'"
    if "\n" not in v and re.match(r"[A-Za-z0-9(/À-ÿ]", v) and not re.search(r": |:$| #|\s$|  ", v):
        return fold(v, indent, used)
    if re.search(r"(^|\n)[ \t]|[ \t](\n|$)|\t|  ", v):
        return json.dumps(v, ensure_ascii=False)
    parts = re.split(r"(\n+)", v.replace("'", "''"))  # text, newlines, text, ...
    return "'" + "".join("\n" + p + " " * indent if i % 2 else fold(p, indent, 0) for i, p in enumerate(parts)) + "'"


def fold(text, indent, used):
    """Breaks a long line at its spaces, as a YAML writer with 80 columns does."""
    out, width = [], indent + used
    for word in text.split(" "):
        if out and width + len(word) > 80:
            out.append("\n" + " " * indent + word)
            width = indent + len(word)
        else:
            out.append((" " if out else "") + word)
            width += len(word) + 1
    return "".join(out)


# Traces.

class Texts:
    """Texts by the first 12 hex digits of their SHA-256."""

    def __init__(self):
        self.by_id = {}

    def put(self, text):
        id = hashlib.sha256(text.encode()).hexdigest()[:12]
        self.by_id[id] = text
        return id


def open_world(suite, task=None, goal=None, slot=None):
    w = suite.World()
    if task is not None and task.long:
        w.begin_long()
    if goal is not None and goal.plant:
        goal.plant(w)
    w.fill(slot, goal.text if goal is not None and slot else None)
    return w


def execute(world, calls, texts, owner="user", turn=0, essential=()):
    out = []
    for i, c in enumerate(calls):
        res, err, dirty = world.run(c)
        t = {"fn": c["fn"], "args": c["args"]}
        if c.get("same_turn") and out:
            t["turn"] = out[-1]["turn"]
        else:
            t["turn"] = turn if not out else out[-1]["turn"] + 1
        t["res"] = texts.put(res)
        if err:
            t["err"] = err
        t["mut"] = 0 if reads(c["fn"]) or err else 1
        t["o"] = owner
        if dirty:
            t["inj"] = 1
        if i in essential:
            t["ea"] = 1
        out.append(t)
    return out


def carrier(suite, task, calls, goal):
    """The slot through which a task's calls read the goal, and the call after which a model knows what
    the attacker wants: the first that reads it, of a goal in two parts the last."""
    slots = [None] if goal.plant else goal.slots
    for slot in slots:
        hits = [i for i, t in enumerate(execute(open_world(suite, task, goal, slot), calls, Texts())) if t.get("inj")]
        if hits:
            return slot, [i for i in hits if reads(calls[i]["fn"])][-1] if goal.effect == "multi" else hits[0]
    return None


def next_turn(calls):
    return calls[-1]["turn"] + 1 if calls else 0


def hijacked(suite, task, calls, goal, place, texts):
    """The calls of a model that obeys the goal while it works on the task."""
    slot, at = carrier(suite, task, calls, goal)
    w = open_world(suite, task, goal, slot)
    if place == "swap":
        fn = goal.calls[0]["fn"]
        cut = next(i for i, c in enumerate(calls) if c["fn"] == fn and i > at)
        head, tail = calls[:cut], calls[cut + 1:]
    elif place == "after":
        head, tail = calls, []
    else:
        at += 1
        while at < len(calls) and calls[at].get("same_turn"):
            at += 1
        head, tail = calls[:at], calls[at:] if place == "before" else []
    out = execute(w, head, texts)
    out += execute(w, goal.calls, texts, "injection", next_turn(out), goal.essential)
    out += execute(w, tail, texts, "user", next_turn(out))
    return out


def resisted(suite, task, calls, goal, texts):
    slot, _ = carrier(suite, task, calls, goal)
    return execute(open_world(suite, task, goal, slot), calls, texts)
