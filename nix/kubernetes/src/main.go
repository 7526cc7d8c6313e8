// One program with the parts of Kubernetes that the end-to-end test runs: it is the part by whose name it is called, as
// each of them is linked from the same packages and one link takes a fourth of the time and the disk.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

func part(name string) *cobra.Command {
	switch name {
	case "kube-apiserver":
		return apiserver.NewAPIServerCommand()
	case "kube-controller-manager":
		return controllers.NewControllerManagerCommand()
	case "kube-proxy":
		return proxy.NewProxyCommand()
	case "kube-scheduler":
		return scheduler.NewSchedulerCommand()
	case "kubelet":
		return kubelet.NewKubeletCommand(context.Background())
	case "device-plugin":
		return devicePlugin()
	}
	return nil
}

func main() {
	name := filepath.Base(os.Args[0])
	command := part(name)
	if command == nil {
		known := []string{
			"kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubelet", "device-plugin",
		}
		fmt.Fprintf(os.Stderr, "%s is no part of Kubernetes; call this program %s\n", name, strings.Join(known, ", "))
		os.Exit(2)
	}
	os.Exit(cli.Run(command))
}
