package temporalserver

import (
	"maps"

	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/membership/static"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/temporal"
)

const (
	clusterName = "active"

	mainStore       = "main"
	visibilityStore = "visibility"

	// archival is switched off in two places that spell it the same.
	archivalDisabled = "disabled"
)

var services = []primitives.ServiceName{
	primitives.FrontendService,
	primitives.HistoryService,
	primitives.MatchingService,
	primitives.WorkerService,
}

// settings are Temporal's dynamic configuration. Its defaults are made for
// clusters with many users and a database elsewhere; here everybody shares one
// process, and an unhurried poll or a rate limit is only a delay.
var settings = dynamicconfig.StaticClient{
	// One partition: a task is where the poller looks, without forwarding.
	dynamicconfig.MatchingNumTaskqueueReadPartitions.Key():  1,
	dynamicconfig.MatchingNumTaskqueueWritePartitions.Key(): 1,

	// The default of 20 polls a second adds up to 50 ms to every step.
	dynamicconfig.TransferProcessorMaxPollRPS.Key():   1000,
	dynamicconfig.TimerProcessorMaxPollRPS.Key():      1000,
	dynamicconfig.VisibilityProcessorMaxPollRPS.Key(): 1000,
	dynamicconfig.OutboundProcessorMaxPollRPS.Key():   1000,

	// A search attribute added by an operator can be used at once.
	dynamicconfig.ForceSearchAttributesCacheRefreshOnRead.Key(): true,

	// Lists and counts are otherwise refused above ten a second.
	dynamicconfig.FrontendMaxNamespaceVisibilityRPSPerInstance.Key(): 10_000,
	dynamicconfig.FrontendRPS.Key():                                  100_000,
	dynamicconfig.FrontendMaxNamespaceRPSPerInstance.Key():           100_000,

	dynamicconfig.FrontendPersistenceMaxQPS.Key():        100_000,
	dynamicconfig.HistoryPersistenceMaxQPS.Key():         100_000,
	dynamicconfig.MatchingPersistenceMaxQPS.Key():        100_000,
	dynamicconfig.WorkerPersistenceMaxQPS.Key():          100_000,
	dynamicconfig.VisibilityPersistenceMaxReadQPS.Key():  100_000,
	dynamicconfig.VisibilityPersistenceMaxWriteQPS.Key(): 100_000,

	// The default keeps up to 128,000 executions in memory.
	dynamicconfig.HistoryCacheHostLevelMaxSize.Key(): 8_192,

	// This worker is never stopped. Without it the history service itself closes
	// the children of closed parents.
	dynamicconfig.EnableParentClosePolicyWorker.Key(): false,

	// The check asks a server of Temporal's on the internet.
	dynamicconfig.EnableServerVersionCheck.Key(): false,
}

// dynamic completes the settings. The scanners remove what long-gone executions
// leave in the store. Their workers are never stopped: they would go on polling,
// with a closed database, whatever server takes the port next.
func dynamic(housekeeping bool) dynamicconfig.StaticClient {
	all := maps.Clone(settings)
	all[dynamicconfig.TaskQueueScannerEnabled.Key()] = housekeeping
	all[dynamicconfig.HistoryScannerEnabled.Key()] = housekeeping
	return all
}

func serverOptions(store *store, ports *ports, housekeeping bool, log *serverLog) []temporal.ServerOption {
	hosts := make(map[primitives.ServiceName]static.Hosts, len(services))
	names := make([]string, 0, len(services))
	for _, service := range services {
		hosts[service] = static.SingleLocalHost(ports.address(service))
		names = append(names, string(service))
	}
	return []temporal.ServerOption{
		temporal.WithConfig(serverConfig(store, ports)),
		temporal.ForServices(names),
		temporal.WithStaticHosts(hosts),
		temporal.WithLogger(log),
		temporal.WithNamespaceLogger(log),
		temporal.WithAuthorizer(authorization.NewNoopAuthorizer()),
		temporal.WithClaimMapper(func(*config.Config) authorization.ClaimMapper {
			return authorization.NewNoopClaimMapper()
		}),
		temporal.WithDynamicConfigClient(dynamic(housekeeping)),
	}
}

// serverConfig has no metrics and no pprof: both are global to the process,
// which may hold several servers.
func serverConfig(store *store, ports *ports) *config.Config {
	rpc := make(map[string]config.Service, len(services))
	for _, service := range services {
		rpc[string(service)] = config.Service{RPC: config.RPC{
			GRPCPort: ports.number[service],
			BindOnIP: ports.host(service),
		}}
	}
	return &config.Config{
		Global: config.Global{
			Membership: config.Membership{BroadcastAddress: loopback},
		},
		Persistence: config.Persistence{
			DefaultStore:     mainStore,
			VisibilityStore:  visibilityStore,
			NumHistoryShards: store.shards,
			DataStores: map[string]config.DataStore{
				mainStore:       {SQL: store.main},
				visibilityStore: {SQL: store.visibility},
			},
		},
		ClusterMetadata: &cluster.Config{
			MasterClusterName:        clusterName,
			CurrentClusterName:       clusterName,
			FailoverVersionIncrement: 10,
			ClusterInformation: map[string]cluster.ClusterInformation{
				clusterName: {
					Enabled:                true,
					InitialFailoverVersion: 1,
					RPCAddress:             ports.frontend(),
				},
			},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		Services:            rpc,
		PublicClient:        config.PublicClient{HostPort: ports.frontend()},
		Archival: config.Archival{
			History:    config.HistoryArchival{State: archivalDisabled},
			Visibility: config.VisibilityArchival{State: archivalDisabled},
		},
		NamespaceDefaults: config.NamespaceDefaults{
			Archival: config.ArchivalNamespaceDefaults{
				History:    config.HistoryArchivalNamespaceDefaults{State: archivalDisabled},
				Visibility: config.VisibilityArchivalNamespaceDefaults{State: archivalDisabled},
			},
		},
	}
}
