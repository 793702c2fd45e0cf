import { randomBytes } from 'node:crypto';
import type { Cidr, Family } from '../core/index.ts';
import type { NetworkState } from '../host/index.ts';
import { annotationPatch, randomMac, unnoticedFamily, vtepMac } from './annotations.ts';
import { backendData, KEYS, subnetsOf } from './lease.ts';
import type { NetConf } from './net-conf.ts';
import type { FlannelNode, FlannelOptions } from './options.ts';
import { tunnelName } from './plan.ts';
import type { Uplink } from './uplink.ts';

type Macs = Partial<Record<Family, string>>;

const METADATA_ONLY = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json';

export interface Announcement {
  own: FlannelNode;
  conf: NetConf;
  uplink: Uplink;
  subnets: Partial<Record<Family, Cidr>>;
  /** Called when a device must get a new hardware address along with the change. */
  onNewMac: () => void;
}

/** Keeps what the other nodes know of this one: hardware addresses of its tunnel ends and the annotations with them. */
export interface Announcer {
  readonly macs: Readonly<Macs>;
  /** Settles the hardware address of each family's device. */
  chooseMacs(facts: {
    state: NetworkState;
    families: readonly Family[];
    vni: number;
    own: FlannelNode | undefined;
  }): void;
  /** False if the Node names other hardware addresses than the ones in use. */
  agreesWith(node: FlannelNode): boolean;
  /** Patches the Node if anything differs. */
  announce(announcement: Announcement, signal: AbortSignal): Promise<void>;
}

export type AnnouncerOptions = Pick<FlannelOptions, 'client' | 'nodeName' | 'serverConfig' | 'nodeExternalIps'>;

export function createAnnouncer(options: AnnouncerOptions): Announcer {
  const { client, nodeName, serverConfig, nodeExternalIps } = options;
  const macs: Macs = {};
  /** New hardware addresses that win over the annotations until those hold them. */
  const renewed: Macs = {};
  let sent = '';
  const announced = (node: FlannelNode | undefined, family: Family) =>
    backendData(node?.metadata.annotations?.[KEYS[family].data]).mac;

  return {
    macs,
    chooseMacs({ state, families, vni, own }) {
      for (const family of families) {
        const fresh = renewed[family];
        if (fresh !== undefined) {
          if (announced(own, family) === fresh) delete renewed[family];
          macs[family] = fresh;
          continue;
        }
        const device = state.links.get(tunnelName(family, vni));
        macs[family] = vtepMac({
          annotations: own?.metadata.annotations ?? {},
          family,
          // Once chosen it stays, although the annotation that will hold it is still under way.
          existing: macs[family] ?? (device?.vxlan ? device.mac : undefined),
          randomBytes,
        });
      }
    },
    agreesWith: (node) =>
      ([4, 6] as const).every((family) => [undefined, macs[family]].includes(announced(node, family))),
    async announce({ own, conf, uplink, subnets, onNewMac }, signal) {
      // A peer that sees annotations before the podCIDR never looks again (flannel pkg/subnet/kube).
      if (Object.keys(subnetsOf(own)).length === 0) return;
      const addresses: Partial<Record<Family, string>> = {};
      for (const family of [4, 6] as const) {
        const address = uplink.addresses[family];
        if (subnets[family] !== undefined && address !== undefined) addresses[family] = address;
      }
      const current = own.metadata.annotations ?? {};
      const { externalIp } = serverConfig;
      const ask = () =>
        annotationPatch({ backend: conf.backend, current, addresses, macs, externalIp, nodeExternalIps });
      let annotations = ask();
      if (annotations === undefined) return;
      const unnoticed =
        conf.backend.type === 'vxlan' ? unnoticedFamily(annotations, { current, addresses }) : undefined;
      if (unnoticed !== undefined) {
        macs[unnoticed] = renewed[unnoticed] = randomMac(randomBytes);
        onNewMac();
        annotations = ask();
      }
      const body = { metadata: { annotations } };
      const asked = `${own.metadata.uid} ${own.metadata.resourceVersion} ${JSON.stringify(body)}`;
      if (asked === sent) return; // the store has just not seen it yet
      // Right after a change of address the kept-alive connection is often dead: give up early, the retry dials anew.
      const request = { signal, accept: METADATA_ONLY, timeoutMs: 5_000 };
      await client.patch(`/api/v1/nodes/${nodeName}/status`, 'merge', body, request);
      sent = asked;
    },
  };
}
