import { randomBytes } from 'node:crypto';
import { addressAt, parseCidr } from '../../../src/core/index.ts';
import type { Settings } from '../options.ts';

/** A Go net.IPNet as JSON: the mask is base64 of its bytes. */
function ipNet(text: string): { IP: string; Mask: string } {
  const { family, address, prefix } = parseCidr(text);
  const bytes = Buffer.alloc(family === 4 ? 4 : 16);
  for (let bit = 0; bit < prefix; bit++) bytes[bit >> 3] = (bytes[bit >> 3] as number) | (0x80 >> (bit & 7));
  return { IP: address, Mask: bytes.toString('base64') };
}

/** What `/v1-k3s/config` answers: config.Control of k3s as JSON, field for field. */
export function supervisorConfig(settings: Settings, secrets: { psk: string }): Record<string, unknown> {
  const [first = ''] = settings.clusterCidrs;
  const dns = addressAt(parseCidr(settings.serviceCidr), 10);
  const lists =
    settings.minor >= 22
      ? {
          ClusterDNSs: [dns],
          ClusterIPRanges: settings.clusterCidrs.map(ipNet),
          ServiceIPRanges: [ipNet(settings.serviceCidr)],
        }
      : {};
  return {
    ...lists,
    ClusterDNS: dns,
    ClusterDomain: 'cluster.local',
    ClusterIPRange: ipNet(first),
    DisableCCM: false,
    DisableHelmController: false,
    DisableNPC: false,
    EncryptSecrets: false,
    EncryptProvider: 'aescbc',
    EmbeddedRegistry: false,
    FlannelBackend: 'vxlan',
    FlannelIPv6Masq: false,
    FlannelExternalIP: false,
    EgressSelectorMode: settings.egressSelectorMode,
    ServiceIPRange: ipNet(settings.serviceCidr),
    SupervisorMetrics: false,
    AdvertisePort: settings.port,
    AdvertiseIP: settings.advertise,
    HTTPSPort: settings.port,
    SupervisorPort: settings.port,
    APIServerPort: 6444,
    APIServerBindAddress: '',
    ServiceNodePortRange: { Base: 30000, Size: 2768 },
    DataDir: settings.dataDir,
    Disables: {},
    DisableAgent: true,
    DisableAPIServer: false,
    DisableControllerManager: false,
    DisableETCD: false,
    DisableKubeProxy: false,
    DisableScheduler: false,
    DisableServiceLB: true,
    Rootless: false,
    ServiceLBNamespace: 'kube-system',
    ExtraAPIArgs: null,
    ExtraControllerArgs: null,
    ExtraCloudControllerArgs: null,
    ExtraEtcdArgs: null,
    ExtraSchedulerArgs: null,
    NoLeaderElect: true,
    JoinURL: '',
    IPSECPSK: secrets.psk || randomBytes(48).toString('hex'),
    DefaultLocalStoragePath: '',
    Skips: {},
    SystemDefaultRegistry: '',
    ClusterInit: false,
    ClusterReset: false,
    ClusterResetRestorePath: '',
    MinTLSVersion: '',
    CipherSuites: [
      'TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384',
      'TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384',
      'TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256',
      'TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256',
      'TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305',
      'TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305',
    ],
    ServerNodeName: 'standin',
    VLevel: 0,
    VModule: '',
    BindAddress: '',
    SANs: [settings.advertise, '127.0.0.1', '::1', 'localhost'],
    SANSecurity: true,
    PrivateIP: settings.advertise,
    ...settings.config,
  };
}
