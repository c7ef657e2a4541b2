// Command dig asks DNS as BIND's dig does, with those of its options that tests use:
//
//	dig [@SERVER[:PORT]] [+tcp] [+search] [+short] [+noall +answer] NAME [TYPE]
//
// It prints the records of the answer. Other options that begin with + change nothing.
package main

import (
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/miekg/dns"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, ";;", err)
		os.Exit(9)
	}
}

func run(args []string) error {
	var name, server string
	qtype, protocol, search, short := dns.TypeA, "udp", false, false
	for _, a := range args {
		switch {
		case a == "+tcp":
			protocol = "tcp"
		case a == "+search":
			search = true
		case a == "+short":
			short = true
		case strings.HasPrefix(a, "+"):
		case strings.HasPrefix(a, "@"):
			server = a[1:]
		case name == "":
			name = a
		default:
			t, ok := dns.StringToType[strings.ToUpper(a)]
			if !ok {
				return fmt.Errorf("unknown type %q", a)
			}
			qtype = t
		}
	}
	conf, err := dns.ClientConfigFromFile("/etc/resolv.conf")
	if err != nil {
		return err
	}
	if server != "" {
		conf.Servers = []string{server}
	}
	names := []string{dns.Fqdn(name)}
	if search {
		names = conf.NameList(name)
	}
	var last *dns.Msg
	for _, n := range names {
		if last, err = ask(conf, protocol, n, qtype); err != nil {
			return err
		}
		if len(last.Answer) > 0 {
			break
		}
	}
	if last.Rcode != dns.RcodeSuccess && !short {
		fmt.Println(";; status:", dns.RcodeToString[last.Rcode])
	}
	for _, rr := range last.Answer {
		text := rr.String()
		if short {
			text = strings.TrimPrefix(text, rr.Header().String())
		}
		fmt.Println(text)
	}
	return nil
}

// ask asks one server after the other, and over TCP where an answer does not fit.
func ask(conf *dns.ClientConfig, protocol, name string, qtype uint16) (*dns.Msg, error) {
	q := new(dns.Msg)
	q.SetQuestion(name, qtype)
	q.SetEdns0(1232, false)
	err := fmt.Errorf("no servers could be reached")
	for _, server := range conf.Servers {
		if _, _, e := net.SplitHostPort(server); e != nil {
			server = net.JoinHostPort(server, conf.Port)
		}
		var m *dns.Msg
		for _, p := range []string{protocol, "tcp"} {
			if m, _, err = (&dns.Client{Net: p, Timeout: 5 * time.Second}).Exchange(q, server); err != nil || !m.Truncated {
				break
			}
		}
		if err == nil {
			return m, nil
		}
	}
	return nil, err
}
