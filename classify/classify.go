// Package classify finds the action class of one call from evidence: it
// parses the SQL statement, the shell command, the HTTP request or the path
// that an argument holds. What it does not know to be harmless is of class
// act; what it cannot read is refused.
package classify

import (
	"slices"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/catalog"
)

// Finding is what parsing found. The zero Finding is of class act.
type Finding struct {
	Class sallyport.Class
	Kinds []sallyport.Kind // sorted, distinct
	// Refused says why it must not pass, whatever its class; "" if it may.
	Refused string
	// Why says what made the class wider than read.
	Why string
	// Resources are what it touches, Columns the columns that it names
	// (without their table), "*" among them. Sorted, distinct.
	Resources, Columns []string
	// Relations are the privileges on tables that PostgreSQL asks for when it
	// runs the statement. Sorted, distinct.
	Relations []catalog.Relation
}

// refuse is the finding of what cannot be read.
func refuse(why string) Finding { return Finding{Refused: why} }

// effect widens the class. The first reason that reaches a class is kept.
func (f *Finding) effect(c sallyport.Class, why string, kinds ...sallyport.Kind) {
	if c < f.Class {
		f.Why = why
	}
	f.Class = f.Class.Widen(c)
	f.Kinds = append(f.Kinds, kinds...)
}

// done sorts what was gathered and holds the bounds.
func (f Finding) done() Finding {
	for _, list := range []*[]string{&f.Resources, &f.Columns} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
		if len(*list) > MaxResources {
			return refuse("it names too many tables, columns or files")
		}
	}
	if len(f.Relations) > MaxResources {
		return refuse("it names too many tables, columns or files")
	}
	slices.Sort(f.Kinds)
	f.Kinds = slices.Compact(f.Kinds)
	return f
}

// Call returns the facts of one call: those of its tool, with the class,
// kinds and resource that its arguments show. The class is never less than
// the catalog's floor. A tool without anything to parse stays as it is.
func Call(f catalog.Facts, args canon.Value) catalog.Facts {
	c := f.Classify
	if c.IsZero() {
		return f
	}
	var found Finding
	var arg string
	switch {
	case c.SQL != "":
		arg = c.SQL
		found = text(args, arg, SQL)
	case c.Shell != "":
		arg = c.Shell
		if v, ok := args.Get(arg); ok && v.Kind() == canon.Array {
			found = words(v)
		} else {
			found = text(args, arg, Shell)
		}
	case c.Method != "":
		arg = c.URL
		method, _ := args.Get(c.Method)
		found = text(args, arg, func(url string) Finding { return HTTP(method.Text(), url, c.Operations) })
		if name := overriddenBy(args.Without(c.Method, c.URL)); name != "" && found.Refused == "" {
			found.effect(sallyport.Act, quoted(name)+" overrides the method", sallyport.External)
			found = found.done()
		}
	default:
		arg = c.Path
		found = text(args, arg, func(p string) Finding { return Path(p, c.Within) })
	}
	f.Class = f.AtLeast.Widen(found.Class)
	if len(found.Kinds) > 0 {
		f.Kinds = append(slices.Clone(f.Kinds), found.Kinds...)
		slices.Sort(f.Kinds)
		f.Kinds = slices.Compact(f.Kinds)
	}
	f.Evidence = catalog.Evidence{
		Classes: map[string]sallyport.Class{catalog.Pointer(arg): found.Class},
		Refused: found.Refused, Why: found.Why, Resources: found.Resources, Columns: found.Columns, Relations: found.Relations,
	}
	return f
}

// text classes an argument that is a string; any other is refused.
func text(args canon.Value, arg string, class func(string) Finding) Finding {
	v, ok := args.Get(arg)
	if !ok || v.Kind() != canon.String {
		return refuse("the argument " + arg + " is no text")
	}
	return class(v.Text())
}
