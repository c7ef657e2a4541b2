// Package interfaces is the root of the contracts between Gantry and its plugins. It has no code of
// its own; each folder below is one contract: the Go interface, its wire form and its suite.
package interfaces

//go:generate protoc -I .. --go_out=.. --go_opt=paths=source_relative --go-grpc_out=.. --go-grpc_opt=paths=source_relative ../interfaces/plugin/proto/plugin.proto ../interfaces/runtime/proto/runtime.proto ../interfaces/network/proto/network.proto ../interfaces/service/proto/service.proto ../interfaces/scheduler/proto/scheduler.proto
