import { createDocuments, type HealthCheck, HealthzServer, KubeletServer, type PodManager } from '../kubelet/index.ts';
import type { KubeletInput } from './kubelet.ts';

export interface KubeletApiInput extends KubeletInput {
  pods: PodManager;
  /** From a mirror's uid to that of the static pod that runs; others stay as they are. */
  translateUid(uid: string): string;
}

/** The health page, and the API on 10250 once its certificate is there; a renewed one is used from then on. */
export async function startKubeletApi(input: KubeletApiInput): Promise<KubeletServer> {
  const { uplink, stack, log, settings, signal } = input;
  if (settings.healthzPort !== 0) {
    const health = new HealthzServer({
      bindAddress: settings.healthzBindAddress ?? (isIpv6(input) ? '::1' : '127.0.0.1'),
      port: settings.healthzPort,
      checks: healthChecks(input),
      log: log.child({ part: 'healthz' }),
    });
    await stack.start('health page', health, signal);
  }
  let pair = await uplink.joined.serving;
  const api = kubeletServer(input, () => pair);
  uplink.renewer.onRenewed((renewal) => {
    pair = renewal.serving;
    api.reload();
  });
  return await stack.start('kubelet API', api, signal);
}

function kubeletServer(input: KubeletApiInput, serving: () => { cert: string; key: string }): KubeletServer {
  const { uplink, config, cri, pods, translateUid, clock, log, settings } = input;
  return new KubeletServer({
    bindAddress: settings.address ?? config.bindAddress ?? (isIpv6(input) ? '::' : '0.0.0.0'),
    port: settings.port,
    debugging: settings.enableDebuggingHandlers,
    nodeName: uplink.joined.nodeName,
    serving,
    clientCa: () => uplink.joined.clientCa,
    kube: uplink.kubelet,
    pods: () => pods.pods(),
    translateUid,
    runtime: cri.runtime,
    events: cri.events,
    checks: healthChecks(input),
    documents: createDocuments({
      nodeName: uplink.joined.nodeName,
      runtime: cri.runtime,
      rootDir: input.paths.kubeletDir,
      clock,
    }),
    clock,
    log: log.child({ part: 'kubelet-api' }),
  });
}

function isIpv6({ uplink }: KubeletInput): boolean {
  return uplink.joined.nodeIps[0]?.includes(':') === true;
}

/** What /healthz looks at besides its own answering; `syncloop` is the kubelet's name for it. */
function healthChecks({ cri }: KubeletInput): HealthCheck[] {
  return [
    {
      name: 'syncloop',
      check: () => {
        if (cri.status().state === 'failing') throw new Error('the container runtime is down');
      },
    },
  ];
}
