package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const (
	userAgent   = "kube-probe/1.37"
	maxBody     = 10 << 10
	maxRedirect = 10
)

// Port finds a port by number or by the name that a container gives it.
func Port(port intstr.IntOrString, c *corev1.Container) (int, error) {
	n := port.IntValue()
	if port.Type == intstr.String {
		for _, p := range c.Ports {
			if p.Name == port.StrVal {
				n = int(p.ContainerPort)
			}
		}
		if n == 0 {
			n, _ = strconv.Atoi(port.StrVal)
		}
	}
	if n < 1 || n > 65535 {
		return 0, fmt.Errorf("find port %s of container %s: no such port", port.String(), c.Name)
	}
	return n, nil
}

// NewRequest makes the request of an HTTP action.
func NewRequest(ctx context.Context, get *corev1.HTTPGetAction, c *corev1.Container, podIP, agent string) (*http.Request, error) {
	port, err := Port(get.Port, c)
	if err != nil {
		return nil, err
	}
	host := get.Host
	if host == "" {
		host = podIP
	}
	scheme := strings.ToLower(string(get.Scheme))
	if scheme == "" {
		scheme = "http"
	}
	u, err := url.Parse(get.Path)
	if err != nil {
		u = &url.URL{Path: get.Path}
	}
	u.Scheme, u.Host = scheme, net.JoinHostPort(host, strconv.Itoa(port))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("make probe request: %w", err)
	}
	req.Header.Set("User-Agent", agent)
	req.Header.Set("Accept", "*/*")
	for i, h := range get.HTTPHeaders {
		switch {
		case strings.EqualFold(h.Name, "Host"):
			req.Host = h.Value
		case i > 0 && strings.EqualFold(get.HTTPHeaders[i-1].Name, h.Name):
			req.Header.Add(h.Name, h.Value)
		default:
			req.Header.Set(h.Name, h.Value)
		}
	}
	return req, nil
}

// Client makes the HTTP client of probes and hooks: no proxy, no verification, no kept connections, and redirects are
// followed on the same host only.
func Client(timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DisableKeepAlives: true, DisableCompression: true,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) >= maxRedirect || req.URL.Hostname() != via[0].URL.Hostname() {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
}

// HTTP tries an HTTP action: a status from 200 to 399 is a success.
func HTTP(ctx context.Context, get *corev1.HTTPGetAction, c *corev1.Container, podIP string, timeout time.Duration) (Outcome, string) {
	req, err := NewRequest(ctx, get, c, podIP, userAgent)
	if err != nil {
		return Unknown, err.Error()
	}
	res, err := Client(timeout).Do(req)
	if err != nil {
		return Failure, err.Error()
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxBody))
	switch {
	case res.StatusCode >= 200 && res.StatusCode < 300:
		return Success, string(body)
	case res.StatusCode >= 300 && res.StatusCode < 400:
		return Warning, fmt.Sprintf("Probe terminated redirects, Response body: %s", body)
	}
	return Failure, fmt.Sprintf("HTTP probe failed with statuscode: %d", res.StatusCode)
}

// TCP tries whether a port accepts connections.
func TCP(ctx context.Context, a *corev1.TCPSocketAction, c *corev1.Container, podIP string, timeout time.Duration) (Outcome, string) {
	port, err := Port(a.Port, c)
	if err != nil {
		return Unknown, err.Error()
	}
	host := a.Host
	if host == "" {
		host = podIP
	}
	d := net.Dialer{Timeout: timeout}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return Failure, err.Error()
	}
	if tc, ok := conn.(*net.TCPConn); ok {
		_ = tc.SetLinger(0)
	}
	conn.Close()
	return Success, ""
}

// GRPC asks a gRPC health service.
func GRPC(ctx context.Context, a *corev1.GRPCAction, podIP string, timeout time.Duration) (Outcome, string) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := grpc.NewClient("passthrough:///"+net.JoinHostPort(podIP, strconv.Itoa(int(a.Port))),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUserAgent(userAgent), grpc.WithNoProxy())
	if err != nil {
		return Failure, err.Error()
	}
	defer conn.Close()
	service := ""
	if a.Service != nil {
		service = *a.Service
	}
	res, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: service})
	switch {
	case status.Code(err) == codes.Unimplemented:
		return Failure, fmt.Sprintf("error: this server does not implement the grpc health protocol (grpc.health.v1.Health): %s", status.Convert(err).Message())
	case status.Code(err) == codes.DeadlineExceeded:
		return Failure, fmt.Sprintf("timeout: health rpc did not complete within %v", timeout)
	case err != nil:
		return Failure, fmt.Sprintf("error: health rpc probe failed: %v", err)
	case res.GetStatus() != healthpb.HealthCheckResponse_SERVING:
		return Failure, fmt.Sprintf("service unhealthy (responded with %q)", res.GetStatus().String())
	}
	return Success, ""
}

// ExecResult turns the end of a command into an outcome.
func ExecResult(output []byte, exit int32, err error) (Outcome, string) {
	if len(output) > maxBody {
		output = output[:maxBody]
	}
	switch {
	case status.Code(err) == codes.DeadlineExceeded || errors.Is(err, context.DeadlineExceeded):
		return Failure, "command timed out: " + err.Error()
	case err != nil:
		return Unknown, err.Error()
	case exit != 0:
		return Failure, string(output)
	}
	return Success, string(output)
}
