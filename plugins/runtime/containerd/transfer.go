package containerd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	goruntime "runtime"
	"sync"

	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	streamingapi "github.com/containerd/containerd/api/services/streaming/v1"
	transferapi "github.com/containerd/containerd/api/services/transfer/v1"
	"github.com/containerd/containerd/api/types"
	transfertypes "github.com/containerd/containerd/api/types/transfer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/gantryio/gantry/interfaces/plugin"
)

// containerd's transfer service takes an archive as a stream and does everything else itself: it stores, unpacks and
// names what is in it. The plugin speaks its API (api/services/transfer and api/services/streaming of containerd)
// rather than link containerd's client library, with which this process took two thirds more memory.

// untagged is put before names that are a tag or a word only, for the transfer service takes them for tags.
const untagged = "gantry.local/untagged:"

// transfer has containerd import an archive and returns what it stored, by the names that it gave.
func (p *Plugin) transfer(ctx context.Context, archive io.Reader) ([]*imagesapi.Image, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sending, done := context.WithCancel(ctx)
	defer done()
	source, err := p.stream(sending)
	if err != nil {
		return nil, err
	}
	progress, err := p.stream(ctx)
	if err != nil {
		return nil, err
	}
	var (
		wait    sync.WaitGroup
		sendErr error
		readErr error
		stored  []*imagesapi.Image
	)
	wait.Go(func() { sendErr = source.send(archive) })
	wait.Go(func() { stored, readErr = progress.stored() })
	platform := &types.Platform{OS: goruntime.GOOS, Architecture: goruntime.GOARCH}
	_, err = transferapi.NewTransferClient(p.conn).Transfer(ctx, &transferapi.TransferRequest{
		Source: pack(&transfertypes.ImageImportStream{Stream: source.id}),
		Destination: pack(&transfertypes.ImageStore{
			Platforms:       []*types.Platform{platform},
			ExtraReferences: []*transfertypes.ImageReference{{Name: untagged[:len(untagged)-1], IsPrefix: true, AllowOverwrite: true}},
			Unpacks:         []*transfertypes.UnpackConfiguration{{Platform: platform, Snapshotter: probe(p.config.Root).snapshotter()}},
		}),
		Options: &transferapi.TransferOptions{ProgressStream: progress.id},
	})
	done() // containerd stops where the archive says that it ends, which may be before the file does
	if err != nil {
		cancel()
	}
	wait.Wait()
	// An archive that cannot be read looks to containerd like one that is cut off.
	var unreadable *readError
	if errors.As(sendErr, &unreadable) {
		return nil, unreadable
	}
	if err != nil {
		return nil, plugin.FromStatus(err)
	}
	return stored, readErr
}

// stream is a stream of messages beside a call; the call names it.
type stream struct {
	streamingapi.Streaming_StreamClient
	id string
}

// stream opens one. It ends with ctx.
func (p *Plugin) stream(ctx context.Context) (*stream, error) {
	s, err := streamingapi.NewStreamingClient(p.conn).Stream(ctx)
	if err != nil {
		return nil, plugin.FromStatus(err)
	}
	id := "gantry-" + rand.Text()
	if err := s.Send(pack(&streamingapi.StreamInit{ID: id})); err != nil && !errors.Is(err, io.EOF) {
		return nil, plugin.FromStatus(err)
	}
	if _, err := s.Recv(); err != nil { // the answer says that containerd knows the stream
		return nil, plugin.FromStatus(err)
	}
	return &stream{s, id}, nil
}

// readError is one of the archive and not of the stream.
type readError struct{ error }

func (e *readError) Unwrap() error { return e.error }

// send sends as many bytes as the other end allows at a time, until the archive ends.
func (s *stream) send(archive io.Reader) error {
	defer func() { _ = s.CloseSend() }()
	buffer := make([]byte, 64<<10)
	for allowed := 0; ; {
		for allowed <= 0 {
			message, err := s.Recv()
			if err != nil {
				return err
			}
			var window transfertypes.WindowUpdate
			if err := unpack(message, &window); err != nil {
				return err
			}
			allowed += int(window.GetUpdate())
		}
		n, err := archive.Read(buffer[:min(allowed, len(buffer))])
		if n > 0 {
			allowed -= n
			if err := s.Send(pack(&transfertypes.Data{Data: buffer[:n]})); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return &readError{err}
		}
	}
}

// stored reads the progress of a transfer until its end and returns the images that it names as saved.
func (s *stream) stored() ([]*imagesapi.Image, error) {
	var images []*imagesapi.Image
	for {
		message, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return images, nil
		}
		if err != nil {
			return nil, plugin.FromStatus(err)
		}
		var progress transfertypes.Progress
		if err := unpack(message, &progress); err != nil {
			return nil, err
		}
		if progress.GetEvent() == "saved" {
			images = append(images, &imagesapi.Image{Name: progress.GetName(), Target: progress.GetDesc()})
		}
	}
}

// pack and unpack write and read messages as containerd does (github.com/containerd/typeurl): their type is their full
// name, without a domain before it.
func pack(m proto.Message) *anypb.Any {
	value, err := proto.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("containerd: encode %T: %v", m, err)) // these have no strings from outside and no required fields
	}
	return &anypb.Any{TypeUrl: string(m.ProtoReflect().Descriptor().FullName()), Value: value}
}

func unpack(from *anypb.Any, to proto.Message) error {
	if want := string(to.ProtoReflect().Descriptor().FullName()); from.GetTypeUrl() != want {
		return fmt.Errorf("containerd sent a %s, want a %s", from.GetTypeUrl(), want)
	}
	return proto.Unmarshal(from.GetValue(), to)
}
