package dns

import (
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

var (
	requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gantry_dns_requests_total", Help: "Questions to the cluster's DNS by protocol and type.",
	}, []string{"protocol", "type"})
	responses = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gantry_dns_responses_total", Help: "Answers of the cluster's DNS by code and by who knew them: cluster, forward, cache or none.",
	}, []string{"source", "rcode"})
	seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "gantry_dns_request_duration_seconds", Help: "How long answers of the cluster's DNS took.",
		Buckets: prometheus.ExponentialBuckets(0.00002, 4, 10),
	}, []string{"source"})
	forwarded = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gantry_dns_forward_requests_total", Help: "Questions to other resolvers by their address and the code of the answer, which is none where there was no answer.",
	}, []string{"to", "rcode"})
	rejected = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gantry_dns_forward_rejected_total", Help: "Questions that were refused because too many were waiting for other resolvers.",
	})
	hits = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gantry_dns_cache_hits_total", Help: "Questions for names outside of the cluster whose answer was remembered.",
	})
	misses = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gantry_dns_cache_misses_total", Help: "Questions for names outside of the cluster whose answer was not remembered.",
	})
)

// Metrics are what whoever serves metrics registers.
func Metrics() []prometheus.Collector {
	return []prometheus.Collector{requests, responses, seconds, forwarded, rejected, hits, misses}
}

// counted are the types that are told apart: clients must not choose how many series there are.
var counted = map[uint16]bool{
	dns.TypeA: true, dns.TypeAAAA: true, dns.TypeSRV: true, dns.TypePTR: true, dns.TypeTXT: true, dns.TypeCNAME: true,
	dns.TypeMX: true, dns.TypeNS: true, dns.TypeSOA: true, dns.TypeANY: true, dns.TypeHTTPS: true, dns.TypeSVCB: true,
}

func observe(protocol, source string, q, m *dns.Msg, took time.Duration) {
	kind := "other"
	if len(q.Question) == 1 && counted[q.Question[0].Qtype] {
		kind = dns.TypeToString[q.Question[0].Qtype]
	}
	requests.WithLabelValues(protocol, kind).Inc()
	code, ok := dns.RcodeToString[m.Rcode]
	if !ok {
		code = "other"
	}
	responses.WithLabelValues(source, code).Inc()
	seconds.WithLabelValues(source).Observe(took.Seconds())
}
