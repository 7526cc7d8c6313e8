// A device plugin for devices that are not there: it says to the kubelet what NVIDIA's says about cards, so that the
// kubelet counts, gives out and takes back `nvidia.com/gpu` by itself. Protocol: k8s.io/kubelet's deviceplugin v1beta1.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

type plugin struct {
	api.UnimplementedDevicePluginServer
	folder, resource string
	count            int
}

func devicePlugin() *cobra.Command {
	p := &plugin{}
	command := &cobra.Command{
		Use:          "device-plugin",
		Short:        "Offers devices that are not there to the kubelet, until it is ended",
		SilenceUsage: true,
		RunE:         func(command *cobra.Command, _ []string) error { return p.run(command.Context()) },
	}
	command.Flags().StringVar(&p.folder, "folder", api.DevicePluginPath, "where the kubelet's socket is")
	command.Flags().StringVar(&p.resource, "resource", "nvidia.com/gpu", "name of the resource")
	command.Flags().IntVar(&p.count, "count", 2, "how many")
	return command
}

// run serves and registers, and does it again whenever a kubelet that starts has removed the socket.
func (p *plugin) run(ctx context.Context) error {
	if ctx == nil {
		ctx = context.Background()
	}
	socket := filepath.Join(p.folder, "leviathan.sock")
	for {
		if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		listener, err := net.Listen("unix", socket)
		if err != nil {
			return err
		}
		server := grpc.NewServer()
		api.RegisterDevicePluginServer(server, p)
		go server.Serve(listener)
		err = p.register(ctx, filepath.Base(socket))
		fmt.Fprintf(os.Stderr, "registered %d of %s: %v\n", p.count, p.resource, err)
		for err == nil {
			time.Sleep(time.Second)
			_, err = os.Stat(socket)
		}
		server.Stop()
		time.Sleep(time.Second)
	}
}

func (p *plugin) register(ctx context.Context, endpoint string) error {
	address := "unix://" + filepath.Join(p.folder, filepath.Base(api.KubeletSocket))
	client, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer client.Close()
	limited, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request := &api.RegisterRequest{Version: api.Version, Endpoint: endpoint, ResourceName: p.resource}
	_, err = api.NewRegistrationClient(client).Register(limited, request)
	return err
}

func (p *plugin) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{}, nil
}

// ListAndWatch tells the devices once: they never change.
func (p *plugin) ListAndWatch(_ *api.Empty, stream api.DevicePlugin_ListAndWatchServer) error {
	devices := make([]*api.Device, p.count)
	for i := range devices {
		devices[i] = &api.Device{ID: fmt.Sprintf("none-%d", i), Health: api.Healthy}
	}
	if err := stream.Send(&api.ListAndWatchResponse{Devices: devices}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

// Allocate gives the container the variable by which NVIDIA's plugin names the cards to its runtime.
func (p *plugin) Allocate(_ context.Context, request *api.AllocateRequest) (*api.AllocateResponse, error) {
	answer := &api.AllocateResponse{}
	for _, one := range request.ContainerRequests {
		names := map[string]string{"NVIDIA_VISIBLE_DEVICES": strings.Join(one.DevicesIds, ",")}
		answer.ContainerResponses = append(answer.ContainerResponses, &api.ContainerAllocateResponse{Envs: names})
	}
	return answer, nil
}
