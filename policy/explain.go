package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/sallyport-dev/sallyport"
)

// The validator's complaints, as cedar-go v1.9.0 words them. What none of
// these reads is passed on in its own words.
var (
	notFound     = regexp.MustCompile("^attribute `(.*)` in context for (.*) not found$")
	notGuarded   = regexp.MustCompile("^unable to guarantee safety of access to optional attribute `(.*)` in context for (.*)$")
	badAction    = regexp.MustCompile("^unrecognized action `(.*)`$")
	badType      = regexp.MustCompile("^unrecognized entity type `(.*)`$")
	noneApplies  = "unable to find an applicable action given the policy scope constraints"
	actionQuoted = regexp.MustCompile(`^.*::Action::"(.*)"$`)
)

// problems checks one rule, and says what it finds in the policy's words.
func (c *checker) problems(r *rule) Problems {
	var out Problems
	read := mentions(r.src)
	// One complaint per attribute, with all the tools it is about.
	type complaint struct {
		attr    string
		guarded bool
	}
	about := map[complaint][]string{}
	var order []complaint
	for _, err := range c.check(r.src, read.action) {
		msg := err.Error()
		if m := notFound.FindStringSubmatch(msg); m != nil {
			k := complaint{attr: m[1]}
			if about[k] == nil {
				order = append(order, k)
			}
			about[k] = appendNew(about[k], unquoteAction(m[2]))
		} else if m := notGuarded.FindStringSubmatch(msg); m != nil {
			k := complaint{attr: m[1], guarded: true}
			if about[k] == nil {
				order = append(order, k)
			}
			about[k] = appendNew(about[k], unquoteAction(m[2]))
		} else if p := c.scopeProblem(r, msg); p != nil && !slices.Contains(out, *p) {
			out = append(out, *p)
		}
	}
	for _, k := range order {
		tools := about[k]
		slices.Sort(tools)
		if k.guarded {
			last := k.attr[strings.LastIndexByte(k.attr, '.')+1:]
			out = append(out, *r.problem(last, ".[", fmt.Sprintf("context.%s may be absent in calls of %s", k.attr, some(tools)),
				fmt.Sprintf("ask first: context.%s && ...", hasForm(k.attr))))
			continue
		}
		out = append(out, *r.problem(k.attr, ".[", c.missing(read, k.attr, tools), ""))
	}
	return append(out, c.neverThere(r, read)...)
}

// scopeProblem explains a complaint about an action or a type.
func (c *checker) scopeProblem(r *rule, msg string) *Problem {
	if m := badAction.FindStringSubmatch(msg); m != nil {
		name := unquoteAction(m[1])
		var names []string
		for uid := range c.schema.Actions {
			names = append(names, string(uid.ID))
		}
		slices.Sort(names)
		fix := "there is neither such a tool nor such a class or kind"
		if near := sallyport.Nearest(name, names); near != "" {
			fix = fmt.Sprintf("did you mean Sallyport::Action::%q?", near)
		}
		return r.problem(name, "::", fmt.Sprintf("the action %q does not exist", name), fix)
	}
	if m := badType.FindStringSubmatch(msg); m != nil {
		name := m[1]
		var names []string
		for t := range c.schema.Entities {
			names = append(names, string(t))
		}
		slices.Sort(names)
		fix := "there are: " + strings.Join(names, ", ")
		if slices.Contains(names, namespace+"::"+name) {
			fix = "write " + namespace + "::" + name
		} else if near := sallyport.Nearest(name, names); near != "" {
			fix = "did you mean " + near + "? There are: " + strings.Join(names, ", ")
		}
		return r.problem(name[strings.LastIndexByte(name, ':')+1:], "", fmt.Sprintf("the entity type %s does not exist", name), fix)
	}
	if msg == noneApplies && slices.ContainsFunc(c.scopeTools(r.src.Action), func(t *tool) bool { return t.unseen }) {
		return nil // it may apply to a tool that has not been seen yet
	}
	if msg == noneApplies && len(c.scopeTools(r.src.Action)) == 0 {
		return nil // a rule about a class or kind of which there is no tool yet
	}
	if msg == noneApplies {
		return r.problem("", "", "no call can match the policy's principal, action and resource together",
			"a principal is a User or an Agent; the resource of a tool is its Tool, or the type its catalog entry names")
	}
	return r.problem("", "", msg, "")
}

// missing says which tools lack an attribute, and what there is instead.
func (c *checker) missing(read mention, attr string, tools []string) string {
	for _, path := range read.paths {
		if len(path) == 0 || path[len(path)-1] != types.String(attr) && !slices.Contains(path, types.String(attr)) {
			continue
		}
		if len(path) > 1 && path[0] == "args" && path[1] == types.String(attr) {
			var names []string
			if t := c.tools[types.NewEntityUID(typeAction, types.String(tools[0]))]; t != nil {
				names = fieldNames(t.args)
			}
			verb := "has"
			if len(tools) > 1 {
				verb = "have"
			}
			return fmt.Sprintf("%s %s no argument %s%s", some(tools), verb, attr, namesThatExist(attr, names))
		}
		if path[0] == types.String(attr) {
			return fmt.Sprintf("the context has no %s%s", attr, namesThatExist(attr, contextNames[""]))
		}
		if names := contextNames[string(path[0])]; names != nil {
			return fmt.Sprintf("context.%s has no %s%s", path[0], attr, namesThatExist(attr, names))
		}
	}
	return fmt.Sprintf("the context of %s has no attribute %s", some(tools), attr)
}

// neverThere finds arguments that a policy asks for with "has" and that no
// tool in its scope has: such a policy is silently dead.
func (c *checker) neverThere(r *rule, read mention) Problems {
	var out Problems
	tools := c.scopeTools(r.src.Action)
	if len(tools) == 0 {
		return nil
	}
	for _, arg := range read.has {
		var names []string
		found := false
		for _, t := range tools {
			found = found || t.unseen
			for i := range t.args {
				found = found || t.args[i].name == arg
				names = appendNew(names, t.args[i].name)
			}
		}
		if !found {
			slices.Sort(names)
			out = append(out, *r.problem(arg, "has.[", fmt.Sprintf("no tool in the policy's scope has an argument %s%s", arg, namesThatExist(arg, names)), ""))
		}
	}
	return out
}

// some lists a few names.
func some(names []string) string {
	if len(names) <= 5 {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:5], ", "), len(names)-5)
}

func unquoteAction(s string) string {
	if m := actionQuoted.FindStringSubmatch(s); m != nil {
		return m[1]
	}
	return s
}

// hasForm writes "args.amount" as "args has amount".
func hasForm(path string) string {
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		return path[:i] + " has " + path[i+1:]
	}
	return "has " + path
}
