package nftables

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// observed is what the kernel has of a table.
type observed struct {
	table  bool
	chains map[string]bool              // chain → its rules are as they should be, as far as looked at
	maps   map[string]map[string]string // map → key → chain
	sets   map[string]bool
}

// observe reads the table. Rules are compared only when deep, and those of base chains always.
func observe(conn *nftables.Conn, want *ruleset, deep bool) (*observed, error) {
	have := &observed{chains: map[string]bool{}, maps: map[string]map[string]string{}, sets: map[string]bool{}}
	tables, err := conn.ListTablesOfFamily(want.family.table)
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	have.table = slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == want.name })
	if !have.table {
		return have, nil
	}
	chains, err := conn.ListChainsOfTableFamily(want.family.table)
	if err != nil {
		return nil, fmt.Errorf("list chains: %w", err)
	}
	wanted := map[string]*chain{}
	for _, c := range want.chains {
		wanted[c.name] = c
	}
	for _, c := range chains {
		if c.Table.Name != want.name {
			continue
		}
		have.chains[c.Name] = true
		if w := wanted[c.Name]; w != nil && (deep || w.hook != nil) {
			rules, err := conn.GetRules(want.table(), c)
			if err != nil {
				return nil, fmt.Errorf("list rules of %s: %w", c.Name, err)
			}
			have.chains[c.Name] = same(w.rules, rules)
		}
	}
	return have, have.readSets(conn, want)
}

func (o *observed) readSets(conn *nftables.Conn, want *ruleset) error {
	sets, err := conn.GetSets(want.table())
	if err != nil {
		return fmt.Errorf("list sets: %w", err)
	}
	for _, s := range sets {
		if s.Anonymous || strings.HasPrefix(s.Name, "__") {
			continue
		}
		o.sets[s.Name] = true
		if want.maps[s.Name] == nil {
			continue
		}
		elements, err := conn.GetSetElements(s)
		if err != nil {
			return fmt.Errorf("list elements of %s: %w", s.Name, err)
		}
		o.maps[s.Name] = map[string]string{}
		for _, e := range elements {
			o.maps[s.Name][string(e.Key)] = e.Comment
		}
	}
	return nil
}

// maxComment is what nftables allows for a comment, without its final zero.
const maxComment = 127

// comment is what a rule carries of its text to be known again.
func (r rule) comment() string { return r.text[:min(len(r.text), maxComment)] }

func same(want []rule, have []*nftables.Rule) bool {
	return slices.EqualFunc(want, have, func(w rule, h *nftables.Rule) bool {
		text, _ := userdata.GetString(h.UserData, userdata.TypeComment)
		return text == w.comment()
	})
}

// change sends one transaction that turns what is there into what is wanted.
func change(conn *nftables.Conn, want *ruleset, have *observed) error {
	t := want.table()
	conn.AddTable(t)
	for name, seconds := range want.sets {
		if !have.sets[name] {
			set := want.affinity(name, seconds)
			if err := conn.AddSet(set, nil); err != nil {
				return err
			}
			for part := range slices.Chunk(want.clients[name], chunk) {
				if err := conn.SetAddElements(set, part); err != nil {
					return err
				}
			}
		}
	}
	for _, name := range []string{vips, nodePorts, noVips, noPorts} {
		if !have.sets[name] {
			if err := conn.AddSet(want.verdicts(name), nil); err != nil {
				return err
			}
		}
	}
	if err := changeChains(conn, want, have); err != nil {
		return err
	}
	for _, name := range []string{vips, nodePorts, noVips, noPorts} {
		if err := changeMap(conn, want, name, have.maps[name]); err != nil {
			return err
		}
	}
	removeOld(conn, want, have)
	return conn.Flush()
}

func (r *ruleset) verdicts(name string) *nftables.Set {
	return &nftables.Set{Table: r.table(), Name: name, IsMap: true, KeyType: r.family.keyTypes(name), DataType: nftables.TypeVerdict}
}

func (r *ruleset) affinity(name string, seconds uint32) *nftables.Set {
	return &nftables.Set{
		Table: r.table(), Name: name, KeyType: r.family.key, Dynamic: true, HasTimeout: true,
		Timeout: time.Duration(seconds) * time.Second, Size: 65536,
	}
}

// changeChains adds chains before any rule, for rules refer to chains.
func changeChains(conn *nftables.Conn, want *ruleset, have *observed) error {
	t := want.table()
	var stale []*chain
	for _, c := range want.chains {
		right, exists := have.chains[c.name]
		if !exists {
			n := &nftables.Chain{Name: c.name, Table: t}
			if c.hook != nil {
				accept := nftables.ChainPolicyAccept
				n.Type, n.Hooknum, n.Priority, n.Policy = c.hook.kind, c.hook.num, nftables.ChainPriorityRef(nftables.ChainPriority(c.hook.priority)), &accept
			}
			conn.AddChain(n)
		}
		if !right {
			stale = append(stale, c)
		}
	}
	for _, c := range stale {
		k := &nftables.Chain{Name: c.name, Table: t}
		if _, exists := have.chains[c.name]; exists {
			conn.FlushChain(k)
		}
		for _, r := range c.rules {
			exprs, err := r.build(conn, t)
			if err != nil {
				return err
			}
			conn.AddRule(&nftables.Rule{Table: t, Chain: k, Exprs: exprs, UserData: userdata.AppendString(nil, userdata.TypeComment, r.comment())})
		}
	}
	return nil
}

// build returns the expressions of a rule, with the map of a random choice made.
func (r rule) build(conn *nftables.Conn, t *nftables.Table) ([]expr.Any, error) {
	if r.choose == nil {
		return r.exprs, nil
	}
	set := &nftables.Set{Table: t, Anonymous: true, Constant: true, IsMap: true, KeyType: nftables.TypeInteger, DataType: nftables.TypeVerdict}
	var elements []nftables.SetElement
	for i, c := range r.choose {
		elements = append(elements, nftables.SetElement{
			Key: binaryutil.NativeEndian.PutUint32(uint32(i)), VerdictData: &expr.Verdict{Kind: expr.VerdictGoto, Chain: c},
		})
	}
	if err := conn.AddSet(set, elements); err != nil {
		return nil, err
	}
	return append(slices.Clone(r.exprs), &expr.Lookup{
		SourceRegister: reg1, SetName: set.Name, SetID: set.ID, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true,
	}), nil
}

// chunk keeps a message below the 64 KiB of a netlink attribute.
const chunk = 250

func changeMap(conn *nftables.Conn, want *ruleset, name string, have map[string]string) error {
	set := want.verdicts(name)
	var gone, added []nftables.SetElement
	for key, chain := range have {
		if want.maps[name][key] != chain {
			gone = append(gone, nftables.SetElement{Key: []byte(key)})
		}
	}
	for key, chain := range want.maps[name] {
		if have[key] != chain {
			added = append(added, nftables.SetElement{
				Key: []byte(key), VerdictData: &expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}, Comment: chain,
			})
		}
	}
	for part := range slices.Chunk(gone, chunk) {
		if err := conn.SetDeleteElements(set, part); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(added, chunk) {
		if err := conn.SetAddElements(set, part); err != nil {
			return err
		}
	}
	return nil
}

// removeOld removes chains that nothing refers to any more, those that refer to others first.
func removeOld(conn *nftables.Conn, want *ruleset, have *observed) {
	t := want.table()
	var old []string
	for name := range have.chains {
		if !slices.ContainsFunc(want.chains, func(c *chain) bool { return c.name == name }) {
			old = append(old, name)
		}
	}
	slices.SortFunc(old, func(a, b string) int { return rank(a) - rank(b) })
	for _, name := range old {
		c := &nftables.Chain{Name: name, Table: t}
		conn.FlushChain(c)
		conn.DelChain(c)
	}
	for name := range have.sets {
		if _, wanted := want.sets[name]; !wanted && want.maps[name] == nil {
			conn.DelSet(&nftables.Set{Table: t, Name: name})
		}
	}
}
