package main

import (
	"net"
	"strings"

	"github.com/miekg/dns"
	"github.com/spf13/cobra"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/clientcmd"
)

const zone = ".svc.cluster.local."

// names serves the addresses of Services, and of the pods behind those without an address, by UDP. Names outside of the cluster
// do not exist.
func names() *cobra.Command {
	var kubeconfig, listen string
	command := &cobra.Command{Use: "kube-dns", RunE: func(command *cobra.Command, _ []string) error {
		config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
		if err != nil {
			return err
		}
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			return err
		}
		factory := informers.NewSharedInformerFactory(client, 0)
		known := directory{
			services: factory.Core().V1().Services().Lister(),
			slices:   factory.Discovery().V1().EndpointSlices().Lister(),
		}
		factory.Start(command.Context().Done())
		factory.WaitForCacheSync(command.Context().Done())
		return dns.ListenAndServe(listen, "udp", dns.HandlerFunc(known.answer))
	}}
	command.Flags().StringVar(&kubeconfig, "kubeconfig", "", "how to reach the API server")
	command.Flags().StringVar(&listen, "listen", ":53", "the address to serve at")
	return command
}

// What there are names for.
type directory struct {
	services corelisters.ServiceLister
	slices   discoverylisters.EndpointSliceLister
}

func (known directory) answer(writer dns.ResponseWriter, request *dns.Msg) {
	reply := new(dns.Msg)
	reply.SetReply(request)
	reply.Authoritative = true
	question := request.Question[0]
	addresses := known.addresses(strings.ToLower(question.Name))
	if len(addresses) == 0 {
		reply.Rcode = dns.RcodeNameError
	}
	for _, address := range addresses {
		if question.Qtype == dns.TypeA {
			header := dns.RR_Header{Name: question.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}
			reply.Answer = append(reply.Answer, &dns.A{Hdr: header, A: net.ParseIP(address)})
		}
	}
	_ = writer.WriteMsg(reply)
}

// addresses of SERVICE.NAMESPACE.svc.cluster.local, or of one pod behind it, HOST.SERVICE and so on.
func (known directory) addresses(name string) []string {
	name, inZone := strings.CutSuffix(name, zone)
	parts := strings.Split(name, ".")
	if !inZone || len(parts) < 2 || len(parts) > 3 {
		return nil
	}
	host, name, namespace := "", parts[len(parts)-2], parts[len(parts)-1]
	if len(parts) == 3 {
		host = parts[0]
	}
	service, err := known.services.Services(namespace).Get(name)
	if err != nil {
		return nil
	}
	if host == "" && service.Spec.ClusterIP != core.ClusterIPNone {
		return []string{service.Spec.ClusterIP}
	}
	behind := labels.SelectorFromSet(labels.Set{discovery.LabelServiceName: name})
	slices, err := known.slices.EndpointSlices(namespace).List(behind)
	if err != nil {
		return nil
	}
	var addresses []string
	for _, slice := range slices {
		for _, endpoint := range slice.Endpoints {
			isReady := endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready
			isAsked := host == "" || endpoint.Hostname != nil && *endpoint.Hostname == host
			if isReady && isAsked {
				addresses = append(addresses, endpoint.Addresses...)
			}
		}
	}
	return addresses
}
