package task

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
)

// Limits bound what all calls of a task do together.
//
// The keys of Calls and Rate are selectors: "total"; a class ("read",
// "write", "act"), which counts calls of exactly that class; a kind
// ("payment"); "server/*"; or "server/tool".
type Limits struct {
	// Calls bounds the number of calls.
	Calls map[string]int `json:"calls,omitempty"`
	// Sum bounds the sum of an argument over all calls, as decimal text. Its
	// keys are "server/tool.argument" or "server/tool#/json/pointer".
	Sum map[string]string `json:"sum,omitempty"`
	// Rate bounds the calls in each window of time: "10/1m". Windows lie side
	// by side, so that up to twice the number may fall in one window's length.
	Rate map[string]string `json:"rate,omitempty"`
	// Exclusive is a list of sets of selectors. Once a call matched one of a
	// set, calls that match another of it are denied.
	Exclusive [][]string `json:"exclusive,omitempty"`
}

// Charge is what one call adds to one meter.
type Charge struct {
	Key      string // of View.Meters
	Add, Max canon.Decimal
	Text     string // the limit, for people
	// Release gives the amount back if the call fails upstream.
	Release bool
	// Conflicts are meters that must be zero.
	Conflicts []string
}

// ChargeQuery is a covered call.
type ChargeQuery struct {
	Server, Tool string
	Class        sallyport.Class
	Kinds        []sallyport.Kind
	Grant        *Grant // that covers it
	Args         canon.Value
	Now          time.Time
}

// Charges lists what the call would add to the task's meters, sorted by key.
// An argument that is summed and not there, not a decimal, or negative, is an
// error of kind EForbidden: what cannot be counted is not permitted.
func (m *Mandate) Charges(q ChargeQuery) ([]Charge, error) {
	if q.Grant == nil {
		return nil, sallyport.Errorf(sallyport.EForbidden, MissNoGrant, "no grant covers the call")
	}
	var cs []Charge
	one := canon.IntDecimal(1)
	if q.Grant.Uses > 0 {
		cs = append(cs, Charge{
			Key: "uses:" + q.Grant.ID, Add: one, Max: canon.IntDecimal(int64(q.Grant.Uses)),
			Text: "grant " + q.Grant.ID + " may be used " + times(q.Grant.Uses), Release: q.Grant.Release,
		})
	}
	for sel, n := range m.Limits.Calls {
		if q.matches(sel) {
			cs = append(cs, Charge{
				Key: "calls:" + sel, Add: one, Max: canon.IntDecimal(int64(n)),
				Text: sel + " calls at most " + times(n), Release: q.Grant.Release,
			})
		}
	}
	for key, limit := range m.Limits.Sum {
		c, ok, err := q.sum(key, limit)
		if err != nil {
			return nil, err
		}
		if ok {
			cs = append(cs, c)
		}
	}
	for sel, text := range m.Limits.Rate {
		if !q.matches(sel) {
			continue
		}
		r, err := parseRate(text)
		if err != nil {
			return nil, err
		}
		// A failed call has burdened the server all the same: no release.
		cs = append(cs, Charge{
			Key: fmt.Sprintf("rate:%s:%s:%d", sel, r.window, r.index(q.Now)), Add: one, Max: canon.IntDecimal(int64(r.n)),
			Text: fmt.Sprintf("%s calls at most %s in %s", sel, times(r.n), r.window),
		})
	}
	for i, set := range m.Limits.Exclusive {
		c, ok, err := q.exclude(i, set)
		if err != nil {
			return nil, err
		}
		if ok {
			cs = append(cs, c)
		}
	}
	slices.SortFunc(cs, func(a, b Charge) int { return strings.Compare(a.Key, b.Key) })
	return cs, nil
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return strconv.Itoa(n) + " times"
}

func (q ChargeQuery) matches(sel string) bool {
	if server, tool, ok := strings.Cut(sel, "/"); ok {
		return server == q.Server && (tool == "*" || tool == q.Tool)
	}
	return sel == "total" || sel == q.Class.String() || slices.Contains(q.Kinds, sallyport.Kind(sel))
}

func (q ChargeQuery) sum(key, limit string) (Charge, bool, error) {
	s, err := parseSumKey(key)
	if err != nil {
		return Charge{}, false, err
	}
	if s.server != q.Server || s.tool != q.Tool {
		return Charge{}, false, nil
	}
	most, ok := canon.ParseDecimal(limit)
	if !ok {
		return Charge{}, false, badMandate("the limit on the sum of %s is no decimal", clip(key))
	}
	v, ok := at(q.Args, s.pointer)
	if !ok {
		return Charge{}, false, sallyport.Errorf(sallyport.EForbidden, "limit_argument", "the argument %s has a limit on its sum and must be given", s.pointer)
	}
	add, ok := decimalOf(v)
	if !ok || add.Sign() < 0 {
		return Charge{}, false, sallyport.Errorf(sallyport.EForbidden, "limit_argument", "the argument %s has a limit on its sum and must be a decimal that is not negative", s.pointer)
	}
	return Charge{
		Key: "sum:" + s.String(), Add: add, Max: most,
		Text: fmt.Sprintf("the sum of %s at most %s", s, limit), Release: q.Grant.Release,
	}, true, nil
}

func (q ChargeQuery) exclude(i int, set []string) (Charge, bool, error) {
	var c Charge
	hits := 0
	for j, sel := range set {
		key := fmt.Sprintf("exclusive:%d:%d", i, j)
		if !q.matches(sel) {
			c.Conflicts = append(c.Conflicts, key)
			continue
		}
		hits++
		c.Key, c.Add, c.Max = key, canon.IntDecimal(1), canon.IntDecimal(math.MaxInt64)
	}
	if hits > 1 {
		return Charge{}, false, sallyport.Errorf(sallyport.EForbidden, "limit_exclusive", "the call is two of the alternatives %s at once", strings.Join(set, ", "))
	}
	c.Text, c.Release = "only one of "+strings.Join(set, ", "), q.Grant.Release
	return c, hits == 1, nil
}

// at follows a JSON pointer.
func at(v canon.Value, ptr string) (canon.Value, bool) {
	for _, name := range splitPointer(ptr) {
		if v.Kind() == canon.Array {
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(v.Elems()) || strconv.Itoa(i) != name {
				return canon.Value{}, false
			}
			v = v.Elems()[i]
			continue
		}
		var ok bool
		if v, ok = v.Get(name); !ok {
			return canon.Value{}, false
		}
	}
	return v, true
}

// sumKey names the argument whose sum is bounded.
type sumKey struct{ server, tool, pointer string }

func (s sumKey) String() string { return s.server + "/" + s.tool + "#" + s.pointer }

func parseSumKey(key string) (sumKey, error) {
	var s sumKey
	name, ptr, pointed := strings.Cut(key, "#")
	if !pointed {
		i := strings.LastIndexByte(key, '.')
		if i < 0 || i+1 == len(key) {
			return s, badMandate("%q is not server/tool.argument or server/tool#/json/pointer", clip(key))
		}
		name, ptr = key[:i], PointerTo("", key[i+1:])
	}
	var ok bool
	s.server, s.tool, ok = strings.Cut(name, "/")
	s.pointer = ptr
	if !ok || !validTarget(s.server) || !validTarget(s.tool) || s.server == "*" || s.tool == "*" || !validPointer(ptr) {
		return s, badMandate("%q is not server/tool.argument or server/tool#/json/pointer", clip(key))
	}
	return s, nil
}

// rate is a number of calls in each window.
type rate struct {
	n      int
	window time.Duration
}

func parseRate(text string) (rate, error) {
	num, win, _ := strings.Cut(text, "/")
	n, err := strconv.Atoi(num)
	d, err2 := time.ParseDuration(win)
	if err != nil || err2 != nil || n < 0 || n > MaxUses || d < time.Second || d > MaxRateWindow || d%time.Millisecond != 0 {
		return rate{}, badMandate("%q is not a rate such as 10/1m, with a window from 1s to %s", clip(text), MaxRateWindow)
	}
	return rate{n, d}, nil
}

func (r rate) index(now time.Time) int64 {
	ms, w := now.UnixMilli(), r.window.Milliseconds()
	if ms < 0 && ms%w != 0 {
		return ms/w - 1
	}
	return ms / w
}

func validSelector(s string) bool {
	if server, tool, ok := strings.Cut(s, "/"); ok {
		return validTarget(server) && validTarget(tool) && server != "*"
	}
	return slices.Contains(selectorWords(), s)
}

// selectorWords lists the selectors that are no names of tools.
func selectorWords() []string {
	ws := []string{"total", "read", "write", "act"}
	for _, k := range sallyport.Kinds {
		ws = append(ws, string(k))
	}
	return ws
}

// validate reports the first problem, in the order of the tables and keys.
func (l Limits) validate() error {
	if cmp.Or(len(l.Calls) > MaxLimits, len(l.Sum) > MaxLimits, len(l.Rate) > MaxLimits, len(l.Exclusive) > MaxLimits) {
		return badMandate("a table of limits has more than %d entries", MaxLimits)
	}
	for _, sel := range slices.Sorted(maps.Keys(l.Calls)) {
		if n := l.Calls[sel]; !validSelector(sel) || n < 0 || n > MaxUses {
			return badLimit("calls", sel)
		}
	}
	sums := make(map[sumKey]bool)
	for _, key := range slices.Sorted(maps.Keys(l.Sum)) {
		s, err := parseSumKey(key)
		if err != nil {
			return err
		}
		if d, ok := canon.ParseDecimal(l.Sum[key]); !ok || d.Sign() < 0 {
			return badMandate("limits: the sum of %s is not a decimal such as \"100.00\"", clip(key))
		}
		if sums[s] {
			return badMandate("limits: the sum of %s is bounded twice", s)
		}
		sums[s] = true
	}
	for _, sel := range slices.Sorted(maps.Keys(l.Rate)) {
		if !validSelector(sel) {
			return badLimit("rate", sel)
		}
		if _, err := parseRate(l.Rate[sel]); err != nil {
			return err
		}
	}
	for _, set := range l.Exclusive {
		if len(set) < 2 || len(set) > MaxAlternatives {
			return badMandate("limits: an exclusive set has 2 to %d selectors", MaxAlternatives)
		}
		for _, sel := range set {
			if !validSelector(sel) {
				return badLimit("exclusive", sel)
			}
		}
	}
	return nil
}

func badLimit(table, sel string) error {
	err := badMandate("limits: %s: %q is not total, a class, a kind, server/* or server/tool, with a number from 0 to %d", table, clip(sel), int(MaxUses))
	if near := sallyport.Nearest(sel, selectorWords()); near != "" && near != sel {
		err.Fix = "did you mean " + near + "?"
	}
	return err
}
