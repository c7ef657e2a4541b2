package apiserver

import (
	"encoding/json"
	"net/http"

	"github.com/gantryio/gantry/core/auth"
)

const (
	issuerPath = ".well-known/openid-configuration"
	keysPath   = "openid/v1/jwks"
)

// issuerMetadata is what those who check tokens of service accounts elsewhere read first (OpenID Connect Discovery 1.0,
// section 3).
type issuerMetadata struct {
	Issuer        string   `json:"issuer"`
	KeysURI       string   `json:"jwks_uri"`
	ResponseTypes []string `json:"response_types_supported"`
	SubjectTypes  []string `json:"subject_types_supported"`
	Algorithms    []string `json:"id_token_signing_alg_values_supported"`
}

// serveIssuer tells how to check the tokens of service accounts. The keys are at the address that the request came to,
// which its sender can reach.
func (s *Server) serveIssuer(w http.ResponseWriter, req *http.Request, path string) bool {
	if s.Tokens == nil || path != issuerPath && path != keysPath {
		return false
	}
	var answer any = s.Tokens.KeySet()
	kind := "application/jwk-set+json" // RFC 7517, section 8.5.2
	if path == issuerPath {
		kind = "application/json"
		answer = issuerMetadata{
			Issuer: s.Tokens.Issuer(), KeysURI: "https://" + req.Host + "/" + keysPath, ResponseTypes: []string{"id_token"},
			SubjectTypes: []string{"public"}, Algorithms: []string{auth.Algorithm},
		}
	}
	raw, err := json.Marshal(answer)
	if err != nil {
		s.fail(w, jsonView, err)
		return true
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "public, max-age=3600")
	_, _ = w.Write(raw)
	return true
}
