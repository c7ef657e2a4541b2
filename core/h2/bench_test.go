package h2

import (
	"crypto/tls"
	"io"
	"net/http"
	"strconv"
	"testing"
)

// BenchmarkServe compares with net/http. The client is most of each figure, and the same.
func BenchmarkServe(b *testing.B) {
	piece := make([]byte, 32<<10)
	for _, size := range []int{1 << 10, 8 << 20} {
		h := func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", strconv.Itoa(size))
			for left := size; left > 0; left -= len(piece) {
				_, _ = w.Write(piece[:min(left, len(piece))])
			}
		}
		for name, s := range map[string]*Server{"net-http": nil, "h2": {}} {
			b.Run(name+"/"+strconv.Itoa(size), func(b *testing.B) {
				url, roots := listen(b, s, h)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true, DisableCompression: true}
					defer transport.CloseIdleConnections()
					client := &http.Client{Transport: transport}
					for pb.Next() {
						resp, err := client.Get(url)
						if err != nil {
							b.Error(err)
							return
						}
						if _, err := io.Copy(io.Discard, resp.Body); err != nil {
							b.Error(err)
						}
						resp.Body.Close()
					}
				})
			})
		}
	}
}
