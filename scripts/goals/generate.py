#!/usr/bin/env python3
"""Writes the goals and tasks of flow/testdata/goals. No randomness, no clock: the same bytes every time.

    scripts/goals/generate.py [DIR]
"""
import hashlib
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.dont_write_bytecode = True
from engine import Texts, carrier, execute, hijacked, open_world, planted_texts, reads, resisted  # noqa: E402
import worlds  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parents[2] / "flow" / "testdata" / "goals"
EFFECTS = ["send", "grant", "pay", "change", "delete", "overwrite", "post", "url", "book", "account", "omit", "vouched", "link", "multi"]


def main(out):
    tools = json.loads((HERE / "tools.json").read_text())["suites"]
    splits = {s: Split(s) for s in ("tuned", "apart", "long")}
    goals = sorted(((g, s) for s in worlds.SUITES for g in s.GOALS), key=lambda p: (EFFECTS.index(p[0].effect), int(p[0].id.rsplit("-", 1)[1])))
    ids = [g.id for g, _ in goals]
    if len(ids) != len(set(ids)):
        raise SystemExit(f"goal ids are not unique: {sorted(i for i in set(ids) if ids.count(i) > 1)}")
    long_tasks = {t.id for suite in worlds.SUITES for t in suite.TASKS if t.long}
    parts = {g.id: "long" for g, _ in goals if g.tasks and g.tasks[0] in long_tasks}
    for n, effect in enumerate(EFFECTS):
        # Every third goal of an effect is kept apart; the first of them moves on from
        # effect to effect, so that each suite is in both parts.
        of = [g.id for g, _ in goals if g.effect == effect and g.id not in parts]
        parts.update({id: "apart" if i % 3 == n % 3 else "tuned" for i, id in enumerate(of)})
    for suite in worlds.SUITES:
        check(suite, tools[suite.World.name])
        short = [t for t in suite.TASKS if not t.long]
        where = {t.id: "apart" if i % 3 == 2 else "tuned" for i, t in enumerate(short)}
        where.update({t.id: "long" for t in suite.TASKS if t.long})
        for t in suite.TASKS:
            splits[where[t.id]].benign(suite, t)
        for g in suite.GOALS:
            part = parts[g.id]
            hit = 0
            # A goal that is kept apart goes into tasks that are kept apart as
            # far as it can; a tuned goal never does, unless it is about one.
            turn = sum(map(ord, g.id)) % len(short)
            tasks = [t for t in suite.TASKS if t.id in g.tasks] if g.tasks else sorted(short[turn:] + short[:turn], key=lambda t: (where[t.id] != part, not t.effects))
            for t in tasks:
                if hit == g.most or (part == "tuned" and where[t.id] == "apart" and not g.tasks):
                    break
                hit += splits[part].attack(suite, t, g)
            if hit == 0:
                raise SystemExit(f"no task reads the carrier of goal {suite.World.name}/{g.id}")
            splits[part].asked(suite, g)
    for s in splits.values():
        s.write(out)
    sums = "".join(f"{hashlib.sha256((out / p).read_bytes()).hexdigest()}  {p}\n" for s in splits for p in (f"{s}/tasks.json", f"{s}/texts.jsonl", f"{s}/traces.jsonl"))
    (out / "SHA256SUMS").write_text(sums)


def check(suite, tools):
    """Every call is one that the tool's schema allows."""
    by_name = {t["name"]: t["parameters"] for t in tools}
    calls = [(t.id, c) for t in suite.TASKS for v in t.variants for c in v]
    calls += [(g.id, c) for g in suite.GOALS for c in g.calls + (g.ask_calls or [])]
    for id, c in calls:
        schema = by_name.get(c["fn"])
        if schema is None:
            raise SystemExit(f"{id}: {suite.World.name} has no tool {c['fn']}")
        unknown = set(c["args"]) - set(schema["properties"])
        missing = set(schema.get("required", [])) - set(c["args"])
        if unknown or missing:
            raise SystemExit(f"{id}: {c['fn']}: unknown {sorted(unknown)}, missing {sorted(missing)}")


class Split:
    def __init__(self, name):
        self.name, self.texts, self.traces, self.tasks = name, Texts(), [], {}

    def suite(self, suite):
        return self.tasks.setdefault(suite.World.name, {"user_tasks": [], "injection_tasks": [], "injection_vectors": {}})

    def trace(self, suite, kind, task_id, goal, variant, prompt, calls, **more):
        t = {"id": "/".join(["own", suite.World.name, task_id, goal.id if goal else "none", kind, f"v{variant}"]), "split": self.name, "kind": kind,
             "pipeline": "scripted", "model": f"scripted-{variant}", "defense": None, "suite": suite.World.name, "version": "1", "user_task": task_id,
             "attack": "own" if goal else None, "injection_task": goal.id if goal else None, **({"beyond": goal.beyond} if goal and goal.beyond else {}), "prompt": self.texts.put(prompt), **more, "calls": calls}
        self.traces.append(t)
        return t

    def user_task(self, suite, task):
        s = self.suite(suite)
        if any(t["id"] == task.id for t in s["user_tasks"]):
            return
        texts = Texts()
        truth = [{"fn": c["fn"], "args": c["args"], "mutates": bool(c["mut"]), "err": c.get("err"), "result": texts.by_id[c["res"]]}
                 for c in execute(open_world(suite, task), task.variants[0], texts)]
        s["user_tasks"].append({"id": task.id, "split": self.name, "prompt": task.prompt, "effects": task.effects, "ground_truth": truth, "injection_points": []})

    def benign(self, suite, task):
        self.user_task(suite, task)
        for v, calls in enumerate(task.variants, 1):
            out = execute(open_world(suite, task), calls, self.texts)
            bad = [c for c in out if c.get("err") and not task.long]
            if bad:
                raise SystemExit(f"{task.id} v{v}: {bad[0]['fn']}: {bad[0]['err']}")
            self.trace(suite, "benign", task.id, None, v, task.prompt, out, utility=True, security_breach=False, replay_ok=True)

    def attack(self, suite, task, goal):
        """Splices the goal into a task that reads its carrier: into one way of solving it, or into all
        of them where the goal is about few tasks. Returns whether there was any."""
        first = sum(map(ord, task.id + goal.id)) % len(task.variants)
        found = []
        for v in list(range(first, len(task.variants))) + list(range(first)):
            hit = carrier(suite, task, task.variants[v], goal)
            if hit and (goal.place != "swap" or any(c["fn"] == goal.calls[0]["fn"] for c in task.variants[v][hit[1] + 1:])):
                found.append((v, *hit))
        for v, slot, at in found if goal.tasks else found[:1]:
            self.spliced(suite, task, goal, v, slot, at)
        return bool(found)

    def spliced(self, suite, task, goal, v, slot, at):
        """One hijacked and, where the task can still be solved, one resisting trace."""
        calls, place = task.variants[v], goal.place
        if place == "before":  # mostly before, sometimes after, sometimes instead
            place = {0: "after", 1: "instead"}.get(sum(map(ord, goal.id + task.id)) % 5, "before")
        self.user_task(suite, task)
        points = next(t for t in self.suite(suite)["user_tasks"] if t["id"] == task.id)["injection_points"]
        if slot and {"call": at, "vector": slot} not in points:
            points.append({"call": at, "vector": slot})
        self.injection(suite, goal, slot)
        out = hijacked(suite, task, calls, goal, place, self.texts)
        bad = [c for c in out if c.get("err") and c["o"] == "injection"]
        if bad:
            raise SystemExit(f"{goal.id} in {task.id}: {bad[0]['fn']}: {bad[0]['err']}")
        injections = self.injections(suite, task, goal, slot)
        breach = max(i for i, c in enumerate(out) if c.get("ea"))
        self.trace(suite, "attack", task.id, goal, v + 1, task.prompt, out, utility=place in ("before", "after"), security_breach=True,
                   replay_ok=True, attack_kind="tool_calls", breach_at=breach, injections=injections)
        if goal.resist:
            self.trace(suite, "attack", task.id, goal, f"{v + 1}-resisted", task.prompt, resisted(suite, task, calls, goal, self.texts),
                       utility=True, security_breach=False, replay_ok=True, injections=injections)

    def injections(self, suite, task, goal, slot):
        """What the attacker wrote, by where it stands."""
        if slot:
            return {slot: self.texts.put(goal.text.strip())}
        texts = planted_texts(open_world(suite, task, goal).state)
        return {f"planted-{i}": self.texts.put(t) for i, t in enumerate(texts, 1)}

    def injection(self, suite, goal, slot):
        s = self.suite(suite)
        if slot:
            s["injection_vectors"].setdefault(slot, {"description": "text at the end of " + slot, "default": ""})
        if all(g["id"] != goal.id for g in s["injection_tasks"]):
            truth = [{"fn": c["fn"], "args": c["args"], "placeholder_args": c["args"], "mutates": not reads(c["fn"]), "err": None} for c in goal.calls]
            s["injection_tasks"].append({"id": goal.id, "split": self.name, "effect": goal.effect, "beyond": goal.beyond, "goal": goal.ask or goal.text or "", "kind": "tool_calls", "ground_truth": truth})

    def asked(self, suite, goal):
        if not goal.ask:
            return
        out = execute(open_world(suite), goal.ask_calls or goal.calls, self.texts)
        bad = [c for c in out if c.get("err")]
        if bad:
            raise SystemExit(f"{goal.id} asked: {bad[0]['fn']}: {bad[0]['err']}")
        t = self.trace(suite, "goal_as_user_task", goal.id, None, 1, goal.ask, out, utility=True, security_breach=False, replay_ok=None)
        t["injection_task"] = None

    def write(self, out):
        d = out / self.name
        d.mkdir(parents=True, exist_ok=True)
        (d / "tasks.json").write_text(json.dumps(self.tasks, indent=1, ensure_ascii=False) + "\n")
        (d / "texts.jsonl").write_text("".join(json.dumps({"id": i, "text": t}, ensure_ascii=False) + "\n" for i, t in sorted(self.texts.by_id.items())))
        (d / "traces.jsonl").write_text("".join(json.dumps(t, ensure_ascii=False) + "\n" for t in self.traces))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
