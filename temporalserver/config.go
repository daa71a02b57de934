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

	archivalDisabled = "disabled"
)

var services = []primitives.ServiceName{
	primitives.FrontendService,
	primitives.HistoryService,
	primitives.MatchingService,
	primitives.WorkerService,
}

// settings is Temporal's dynamic configuration. Temporal's defaults suit clusters
// with many users and a remote database. Here everything shares one process, so a
// slow poll or a rate limit only adds delay.
var settings = dynamicconfig.StaticClient{
	// With one partition, pollers find every task without forwarding.
	dynamicconfig.MatchingNumTaskqueueReadPartitions.Key():  1,
	dynamicconfig.MatchingNumTaskqueueWritePartitions.Key(): 1,

	// The default of 20 polls a second adds up to 50 ms to every step.
	dynamicconfig.TransferProcessorMaxPollRPS.Key():   1000,
	dynamicconfig.TimerProcessorMaxPollRPS.Key():      1000,
	dynamicconfig.VisibilityProcessorMaxPollRPS.Key(): 1000,
	dynamicconfig.OutboundProcessorMaxPollRPS.Key():   1000,

	// A search attribute that an operator adds can be used immediately.
	dynamicconfig.ForceSearchAttributesCacheRefreshOnRead.Key(): true,

	// By default, Temporal refuses more than ten lists and counts a second.
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

	// Temporal never stops this worker. Without it, the history service closes the
	// children of closed parents.
	dynamicconfig.EnableParentClosePolicyWorker.Key(): false,

	// The check calls a server on the internet.
	dynamicconfig.EnableServerVersionCheck.Key(): false,
}

// dynamicSettings returns the settings with or without the scanners, which remove
// the remains of deleted executions from the store. Temporal never stops their
// workers: after Stop they would continue to poll the next server on the port,
// with a closed database.
func dynamicSettings(housekeeping bool) dynamicconfig.StaticClient {
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
		temporal.WithDynamicConfigClient(dynamicSettings(housekeeping)),
	}
}

// serverConfig returns the static configuration, without metrics and pprof: both
// are global to the process, which may run several servers.
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
