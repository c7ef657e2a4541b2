package h2

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http2"
)

var blank http.Request

// parse makes the request of its header fields and returns false if it is malformed (RFC 9113, section 8.3.1). Names and values
// have been checked already.
func (st *stream) parse(f *http2.MetaHeadersFrame) bool {
	c := st.c
	req := blank.WithContext(st)
	st.req = req
	req.Proto, req.ProtoMajor, req.ProtoMinor = "HTTP/2.0", 2, 0
	req.Method, req.Host = f.PseudoValue("method"), f.PseudoValue("authority")
	req.RemoteAddr, req.TLS = c.remote, &c.state
	path, scheme := f.PseudoValue("path"), f.PseudoValue("scheme")
	var err error
	switch {
	case req.Method == "" || f.PseudoValue("protocol") != "":
		return false
	case req.Method == http.MethodConnect:
		if path != "" || scheme != "" || req.Host == "" {
			return false
		}
		req.URL, req.RequestURI = &url.URL{Host: req.Host}, req.Host
	case path == "" || scheme != "https" && scheme != "http":
		return false
	default:
		if req.URL, err = url.ParseRequestURI(path); err != nil {
			return false
		}
		req.RequestURI = path
	}
	fields := f.RegularFields()
	req.Header = make(http.Header, len(fields))
	values := make([]string, 0, len(fields))
	for _, hf := range fields {
		switch hf.Name {
		case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
			return false
		case "te":
			if hf.Value != "trailers" {
				return false
			}
		}
		name := c.canonical(hf.Name)
		if have := req.Header[name]; have != nil {
			req.Header[name] = append(have[:len(have):len(have)], hf.Value)
			continue
		}
		values = append(values, hf.Value)
		req.Header[name] = values[len(values)-1 : len(values) : len(values)]
	}
	if req.Host == "" {
		req.Host = req.Header.Get("Host")
	}
	delete(req.Header, "Host")
	if cookies := req.Header["Cookie"]; len(cookies) > 1 {
		req.Header["Cookie"] = []string{strings.Join(cookies, "; ")}
	}
	if st.expects = strings.EqualFold(req.Header.Get("Expect"), "100-continue"); st.expects {
		delete(req.Header, "Expect")
	}
	st.declareTrailer()
	return st.measure()
}

// measure reads how long the body is.
func (st *stream) measure() bool {
	st.length = -1
	if st.heard {
		st.length = 0
	}
	declared := st.req.Header["Content-Length"]
	for _, text := range declared {
		n, err := strconv.ParseUint(text, 10, 63)
		if err != nil || text != declared[0] || st.heard && n != 0 {
			return false
		}
		st.length = int64(n)
	}
	st.req.ContentLength = st.length
	st.req.Body = http.NoBody
	return true
}

func (st *stream) declareTrailer() {
	for _, line := range st.req.Header["Trailer"] {
		for name := range strings.SplitSeq(line, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			switch name {
			case "", "Transfer-Encoding", "Trailer", "Content-Length":
				continue
			}
			if st.req.Trailer == nil {
				st.req.Trailer = http.Header{}
			}
			st.req.Trailer[name] = nil
		}
	}
	delete(st.req.Header, "Trailer")
}

// mostNames is how many names of fields a connection remembers; clients use the same few.
const mostNames = 128

// canonical is the form in which net/http has a name. It is for the reader.
func (c *conn) canonical(name string) string {
	if have, ok := c.names[name]; ok {
		return have
	}
	made := http.CanonicalHeaderKey(name)
	if len(c.names) < mostNames && len(name) <= mostNames {
		c.names[strings.Clone(name)] = made
	}
	return made
}
