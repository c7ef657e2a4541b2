// Package api describes kinds: one declaration a kind holds everything that the server, the printer,
// the store layout and the documentation know of it.
//
// The types themselves are those of k8s.io/api, as served and as stored; there are no internal twins.
// A declaration is a [Kind] over its Go type; [Kind.Resource] erases the type so that the server can
// treat all kinds alike. The declarations live in one folder a group (core/api/apps/deployment.go), and
// core/api/all lists them.
package api
