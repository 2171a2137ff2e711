package policy

import (
	"slices"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/sallyport-dev/sallyport"
)

// groupUID reads a group's name: "Role::admin", "Team::support", or a bare
// name, which is a Team for a user and an AgentGroup for an agent.
func groupUID(kind sallyport.PrincipalKind, name string) (types.EntityUID, bool) {
	word, id, qualified := strings.Cut(name, "::")
	if !qualified {
		id = name
	}
	var typ types.EntityType
	switch {
	case kind == sallyport.UserKind && (!qualified || word == "Team"):
		typ = typeTeam
	case kind == sallyport.UserKind && word == "Role":
		typ = typeRole
	case kind == sallyport.AgentKind && (!qualified || word == "AgentGroup"):
		typ = typeAgentGroup
	}
	return types.NewEntityUID(typ, types.String(id)), typ != "" && id != ""
}

// entities are those of one request.
type entities struct {
	principals []*principal
	action     *types.Entity
	resource   *types.Entity
	meters     *types.Entity
}

var _ types.EntityGetter = (*entities)(nil)

// Get finds an entity of the request. Groups, servers and action groups have
// neither attributes nor parents and need no entity.
func (e *entities) Get(uid types.EntityUID) (types.Entity, bool) {
	switch uid.Type {
	case typeUser, typeAgent:
		for _, p := range e.principals {
			if p.entity.UID == uid {
				return p.entity, true
			}
		}
	case typeAction:
		if e.action.UID == uid {
			return *e.action, true
		}
	case typeMeters:
		if e.meters != nil && e.meters.UID == uid {
			return *e.meters, true
		}
	default:
		if e.resource.UID == uid {
			return *e.resource, true
		}
	}
	return types.Entity{}, false
}

var metersUID = types.NewEntityUID(typeMeters, "task")

// unfit names a value that a policy reads and Cedar cannot hold.
type unfit struct{ what string }

// context builds what the policies read of the query, but for the approved
// groups, which differ between the two evaluations.
func (b *Bundle) context(q *Query, t *tool, n *slice, ents *entities) (types.RecordMap, *unfit) {
	m := make(types.RecordMap, 8)
	if n.facts&factArgs != 0 {
		args, bad := argRecord(q, t, n)
		if bad != nil {
			return nil, bad
		}
		m["args"] = args
	}
	if n.facts&factTask != 0 {
		m["task"] = taskRecord(&q.Task, n.facts)
	}
	if n.facts&factTime != 0 {
		m["time"] = timeRecord(q.Now, n.facts)
	}
	if n.facts&factUser != 0 {
		for _, p := range ents.principals {
			if p.Kind == sallyport.UserKind {
				m["user"] = p.entity.UID
				break
			}
		}
	}
	if n.facts&factChain != 0 {
		var agents []types.Value
		for _, p := range ents.principals {
			if p.Kind == sallyport.AgentKind {
				agents = append(agents, p.entity.UID)
			}
		}
		m["chain"] = types.NewSet(agents...)
	}
	if n.facts&factMeters != 0 {
		tags, bad := meterTags(q, n)
		if bad != nil {
			return nil, bad
		}
		ents.meters = &types.Entity{UID: metersUID, Tags: tags}
		m["meters"] = metersUID
	}
	if n.facts&factMode != 0 {
		m["mode"] = types.String(q.Mode.String())
	}
	if n.facts&factSensitivity != 0 {
		m["sensitivity"] = types.String(q.Sensitivity.String())
	}
	if n.facts&factBinding != 0 {
		m["binding"] = types.String(q.Binding)
	}
	if n.facts&factLabel != 0 {
		m["label"] = types.NewRecord(types.RecordMap{
			"integrity": types.String(q.Label.Integrity.String()), "sensitivity": types.String(q.Label.Sensitivity.String()),
		})
	}
	if n.facts&factOrigin != 0 {
		m["origin"] = originRecord(q)
	}
	if n.facts&factReviewed != 0 {
		m["reviewed"] = types.Boolean(q.Reviewed)
	}
	return m, nil
}

// originRoles are those of which policies may read the origin.
var originRoles = []sallyport.Role{sallyport.Target, sallyport.Selector, sallyport.Command, sallyport.Credential, sallyport.Value}

// noOrigin is that of a role that no argument plays: nothing speaks against it.
const noOrigin = "pinned"

func originRecord(q *Query) types.Record {
	m := make(types.RecordMap, len(originRoles))
	for _, r := range originRoles {
		o, ok := q.Origins[r]
		if !ok {
			o = noOrigin
		}
		m[types.String(r.String())] = types.String(o)
	}
	return types.NewRecord(m)
}

func argRecord(q *Query, t *tool, n *slice) (types.Record, *unfit) {
	m := make(types.RecordMap, 4)
	for i := range t.args {
		if !n.args.has(i) {
			continue
		}
		f := &t.args[i]
		v, present, ok := convertField(f, q.Args)
		if !ok {
			return types.Record{}, &unfit{"the argument " + f.name + ", of type " + f.typ.kind.String()}
		}
		if present {
			m[types.String(f.name)] = v
		}
	}
	return types.NewRecord(m), nil
}

func taskRecord(t *TaskFacts, f facts) types.Record {
	m := make(types.RecordMap, 5)
	if f&factTaskID != 0 {
		m["id"] = types.String(t.ID)
	}
	if f&factTaskPurpose != 0 {
		m["purpose"] = types.String(t.Purpose)
	}
	if f&factTaskTemplate != 0 {
		m["template"] = types.String(t.Template)
	}
	if f&factTaskAge != 0 {
		m["age"] = types.Long(t.AgeSeconds)
	}
	if f&factTaskDepth != 0 {
		m["depth"] = types.Long(t.Depth)
	}
	return types.NewRecord(m)
}

// weekdays are the words of context.time.weekday.
var weekdays = [...]types.String{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}

// timeRecord is in UTC. Business hours are Monday to Friday, 09:00 to 17:00.
func timeRecord(now time.Time, f facts) types.Record {
	now = now.UTC()
	m := make(types.RecordMap, 4)
	if f&factTimeNow != 0 {
		m["now"] = types.NewDatetime(now)
	}
	if f&factTimeHour != 0 {
		m["hour"] = types.Long(now.Hour())
	}
	if f&factTimeWeekday != 0 {
		m["weekday"] = weekdays[now.Weekday()]
	}
	if f&factTimeBusiness != 0 {
		workday := now.Weekday() != time.Saturday && now.Weekday() != time.Sunday
		m["business"] = types.Boolean(workday && now.Hour() >= 9 && now.Hour() < 17)
	}
	return types.NewRecord(m)
}

// meterTags converts the meters that policies name. One that Cedar cannot
// hold must not look absent: a forbid on it would not fire.
func meterTags(q *Query, n *slice) (types.Record, *unfit) {
	keys := n.meters
	if n.facts&factAllMeters != 0 {
		keys = make([]string, 0, len(q.Meters))
		for k := range q.Meters {
			keys = append(keys, k)
		}
		slices.Sort(keys)
	}
	m := make(types.RecordMap, len(keys))
	for _, k := range keys {
		d, metered := q.Meters[k]
		if !metered {
			continue
		}
		v, ok := cedarDecimal(d)
		if !ok {
			return types.Record{}, &unfit{"the meter " + k}
		}
		m[types.String(k)] = v
	}
	return types.NewRecord(m), nil
}

func approvedSet(groups []string) types.Set {
	if len(groups) == 0 {
		return types.Set{}
	}
	values := make([]types.Value, len(groups))
	for i, g := range groups {
		values[i] = types.String(g)
	}
	return types.NewSet(values...)
}
