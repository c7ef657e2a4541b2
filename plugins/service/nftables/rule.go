package nftables

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/gantryio/gantry/interfaces/service"
)

// rule is a rule in the notation of nft(8), by which it is compared, and as expressions.
type rule struct {
	text  string
	exprs []expr.Any
	// choose are the chains of a random choice, whose map is made along with the rule.
	choose []string
}

// mark is the bit of the packet mark that asks for masquerading.
const mark = 0x200000

// family is what differs between IPv4 and IPv6.
type family struct {
	name          string
	table         nftables.TableFamily
	nat           uint32
	bytes         uint32
	source, dest  uint32 // offsets in the header
	key           nftables.SetDatatype
	loopback      netip.Addr
	loopbackRange netip.Prefix // what must not come from outside once loopback is routed
}

var (
	v4 = family{
		name: "ip", table: nftables.TableFamilyIPv4, nat: unix.NFPROTO_IPV4, bytes: 4, source: 12, dest: 16,
		key: nftables.TypeIPAddr, loopback: netip.MustParseAddr("127.0.0.1"), loopbackRange: netip.MustParsePrefix("127.0.0.0/8"),
	}
	v6 = family{
		name: "ip6", table: nftables.TableFamilyIPv6, nat: unix.NFPROTO_IPV6, bytes: 16, source: 8, dest: 24,
		key: nftables.TypeIP6Addr, loopback: netip.MustParseAddr("::1"),
	}
	protocols = map[string]byte{"TCP": unix.IPPROTO_TCP, "UDP": unix.IPPROTO_UDP, "SCTP": unix.IPPROTO_SCTP}
)

func (f family) has(a netip.Addr) bool {
	return a.IsValid() && (a.Is4() || a.Is4In6()) == (f.bytes == 4)
}

// The keys of the maps: each part fills up a register of four bytes.

func (f family) addrKey(a netip.Addr, protocol byte, port uint16) string {
	return string(a.Unmap().AsSlice()) + portKey(protocol, port)
}

func portKey(protocol byte, port uint16) string {
	return string(binary.BigEndian.AppendUint16([]byte{protocol, 0, 0, 0}, port)) + "\x00\x00"
}

func (f family) keyTypes(name string) nftables.SetDatatype {
	if name == vips || name == noVips {
		return nftables.MustConcatSetType(f.key, nftables.TypeInetProto, nftables.TypeInetService)
	}
	return nftables.MustConcatSetType(nftables.TypeInetProto, nftables.TypeInetService)
}

// Registers of four bytes start at 8; register 1 is 8 to 11 under its old name.
const (
	reg1 = 1
	reg8 = 8
)

func (f family) load(offset, register uint32) expr.Any {
	return &expr.Payload{OperationType: expr.PayloadLoad, DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: f.bytes}
}

// loadPort loads protocol and destination port.
func loadPort(register uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register},
		&expr.Payload{OperationType: expr.PayloadLoad, DestRegister: register + 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
	}
}

func vmap(name string, register uint32) expr.Any {
	return &expr.Lookup{SourceRegister: register, SetName: name, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true}
}

func (f family) addrMap(name string) rule {
	exprs := append([]expr.Any{f.load(f.dest, reg8)}, loadPort(reg8+f.bytes/4)...)
	return rule{text: fmt.Sprintf("%s daddr . meta l4proto . th dport vmap @%s", f.name, name), exprs: append(exprs, vmap(name, reg8))}
}

func (f family) portMap(name string) rule {
	return rule{text: "meta l4proto . th dport vmap @" + name, exprs: append(loadPort(reg8), vmap(name, reg8))}
}

func (f family) portMapAt(a netip.Addr, name string) rule {
	r := f.portMap(name)
	return rule{text: fmt.Sprintf("%s daddr %s %s", f.name, a, r.text), exprs: append(f.equal(f.dest, a), r.exprs...)}
}

func (f family) equal(offset uint32, a netip.Addr) []expr.Any {
	return []expr.Any{f.load(offset, reg1), &expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: a.Unmap().AsSlice()}}
}

func (f family) within(offset uint32, p netip.Prefix, op expr.CmpOp) []expr.Any {
	mask := make([]byte, f.bytes)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return []expr.Any{
		f.load(offset, reg1),
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: f.bytes, Mask: mask, Xor: make([]byte, f.bytes)},
		&expr.Cmp{Op: op, Register: reg1, Data: p.Masked().Addr().Unmap().AsSlice()},
	}
}

func verdict(to string) expr.Any {
	if to == "return" {
		return &expr.Verdict{Kind: expr.VerdictReturn}
	}
	return &expr.Verdict{Kind: expr.VerdictGoto, Chain: to}
}

func (f family) from(p netip.Prefix, to string) rule {
	return rule{text: fmt.Sprintf("%s saddr %s %s", f.name, p, to), exprs: append(f.within(f.source, p, expr.CmpOpEq), verdict(to))}
}

func local4(destination bool) []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: reg1, ResultADDRTYPE: true, FlagDADDR: destination, FlagSADDR: !destination},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
	}
}

func (f family) toLocal(chain string) rule {
	return rule{text: "fib daddr type local jump " + chain, exprs: append(local4(true), &expr.Verdict{Kind: expr.VerdictJump, Chain: chain})}
}

// fromLocal sends the node's own traffic to a chain; it is masqueraded, for its source may be loopback.
func (f family) fromLocal(to string) rule {
	return rule{
		text:  "fib saddr type local meta mark set or masquerade goto " + to,
		exprs: append(append(local4(false), setMark()...), verdict(to)),
	}
}

func setMark() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: reg1},
		&expr.Bitwise{
			SourceRegister: reg1, DestRegister: reg1, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(^uint32(mark)), Xor: binaryutil.NativeEndian.PutUint32(mark),
		},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: reg1, SourceRegister: true},
	}
}

func markMasquerade() rule {
	return rule{text: "meta mark set or masquerade", exprs: setMark()}
}

func masqueradeMarked() rule {
	return rule{text: "meta mark masquerade masquerade", exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: reg1},
		&expr.Bitwise{
			SourceRegister: reg1, DestRegister: reg1, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(mark), Xor: make([]byte, 4),
		},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg1, Data: make([]byte, 4)},
		&expr.Masq{},
	}}
}

// masqueradeLeaving masquerades what pods send to elsewhere than pods.
func (f family) masqueradeLeaving(p netip.Prefix, pods []netip.Prefix) rule {
	r := rule{text: fmt.Sprintf("%s saddr %s leaves %v masquerade", f.name, p, pods), exprs: f.within(f.source, p, expr.CmpOpEq)}
	for _, to := range pods {
		r.exprs = append(r.exprs, f.within(f.dest, to, expr.CmpOpNeq)...)
	}
	r.exprs = append(r.exprs, &expr.Masq{})
	return r
}

func jump(chain string) rule {
	return rule{text: "jump " + chain, exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}}}
}

func goTo(chain string) rule {
	return rule{text: "goto " + chain, exprs: []expr.Any{verdict(chain)}}
}

func drop() rule {
	return rule{text: "drop", exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}}
}

func (f family) dropMartians() rule {
	lo := make([]byte, unix.IFNAMSIZ)
	copy(lo, "lo")
	exprs := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg1, Data: lo},
	}
	exprs = append(exprs, f.within(f.dest, f.loopbackRange, expr.CmpOpEq)...)
	return rule{text: fmt.Sprintf("iifname != lo %s daddr %s drop", f.name, f.loopbackRange), exprs: append(exprs, &expr.Verdict{Kind: expr.VerdictDrop})}
}

// established lets packets pass of connections that have been answered, and those that belong to them.
func established() rule {
	states := binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED)
	return rule{text: "ct state established,related return", exprs: []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: reg1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 4, Mask: states, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg1, Data: make([]byte, 4)},
		verdict("return"),
	}}
}

func (f family) refuseTCP() rule {
	return rule{text: "meta l4proto tcp reject with tcp reset", exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Reject{Type: unix.NFT_REJECT_TCP_RST},
	}}
}

// refuseOther answers "port unreachable" (RFC 792; RFC 4443).
func (f family) refuseOther() rule {
	code := uint8(3)
	if f.bytes == 16 {
		code = 4
	}
	return rule{text: "reject with port-unreachable", exprs: []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: code}}}
}

func (f family) fromSet(set, to string) rule {
	return rule{text: fmt.Sprintf("%s saddr @%s goto %s", f.name, set, to), exprs: []expr.Any{
		f.load(f.source, reg1), &expr.Lookup{SourceRegister: reg1, SetName: set}, verdict(to),
	}}
}

// endpoint translates to one endpoint. A pod that reaches itself is masqueraded, else the answer would not
// come back here.
func (f family) endpoint(e service.Endpoint, set string, seconds uint32) []rule {
	rules := []rule{{
		text:  fmt.Sprintf("%s saddr %s meta mark set or masquerade", f.name, e.Address),
		exprs: append(f.equal(f.source, e.Address), setMark()...),
	}}
	if set != "" {
		rules = append(rules, rule{text: fmt.Sprintf("update @%s { %s saddr timeout %ds }", set, f.name, seconds), exprs: []expr.Any{
			f.load(f.source, reg1),
			&expr.Dynset{SrcRegKey: reg1, SetName: set, Operation: unix.NFT_DYNSET_OP_UPDATE, Timeout: time.Duration(seconds) * time.Second},
		}})
	}
	return append(rules, rule{text: fmt.Sprintf("dnat to %s", netip.AddrPortFrom(e.Address, e.Port)), exprs: []expr.Any{
		&expr.Immediate{Register: reg1, Data: e.Address.Unmap().AsSlice()},
		&expr.Immediate{Register: 2, Data: binaryutil.BigEndian.PutUint16(e.Port)},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: f.nat, RegAddrMin: reg1, RegProtoMin: 2, Specified: true},
	}})
}

// random chooses one of the chains, each as likely.
func random(chains []string) rule {
	if len(chains) == 1 {
		return goTo(chains[0])
	}
	return rule{
		text:   fmt.Sprintf("numgen random mod %d vmap { %s }", len(chains), strings.Join(chains, ", ")),
		exprs:  []expr.Any{&expr.Numgen{Register: reg1, Modulus: uint32(len(chains)), Type: unix.NFT_NG_RANDOM}},
		choose: chains,
	}
}
