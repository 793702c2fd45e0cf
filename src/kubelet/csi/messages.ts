import { defineSchema } from '../../grpc/index.ts';

const CAPABILITIES =
  'UNKNOWN STAGE_UNSTAGE_VOLUME GET_VOLUME_STATS EXPAND_VOLUME VOLUME_CONDITION SINGLE_NODE_MULTI_WRITER VOLUME_MOUNT_GROUP';
const ACCESS =
  'UNKNOWN SINGLE_NODE_WRITER SINGLE_NODE_READER_ONLY MULTI_NODE_READER_ONLY MULTI_NODE_SINGLE_WRITER MULTI_NODE_MULTI_WRITER SINGLE_NODE_SINGLE_WRITER SINGLE_NODE_MULTI_WRITER';

/** The Node service of CSI 1.x; field numbers as in the specification's csi.proto. */
export const csiSchema = defineSchema({
  enums: {
    CapabilityType: { names: CAPABILITIES.split(' '), fallback: 'UNKNOWN' },
    AccessMode: { names: ACCESS.split(' '), fallback: 'UNKNOWN' },
  },
  messages: {
    Empty: '',
    Rpc: 'type=1:CapabilityType',
    NodeCapability: 'rpc=1:Rpc',
    Capabilities: 'capabilities=1:NodeCapability[]',
    Topology: 'segments=1:map',
    NodeInfo: 'nodeId=1 maxVolumes=2:int64 topology=3:Topology',
    MountVolume: 'fsType=1 mountFlags=2:string[] mountGroup=3',
    Access: 'mode=1:AccessMode',
    Capability: 'block=1:Empty mount=2:MountVolume access=3:Access',
    StageRequest:
      'volumeId=1 publishContext=2:map stagingPath=3 capability=4:Capability secrets=5:map volumeContext=6:map',
    UnstageRequest: 'volumeId=1 stagingPath=2',
    PublishRequest:
      'volumeId=1 publishContext=2:map stagingPath=3 targetPath=4 capability=5:Capability readonly=6:bool secrets=7:map volumeContext=8:map',
    UnpublishRequest: 'volumeId=1 targetPath=2',
    Range: 'requiredBytes=1:int64 limitBytes=2:int64',
    ExpandRequest: 'volumeId=1 volumePath=2 range=3:Range stagingPath=4 capability=5:Capability secrets=6:map',
    ExpandResponse: 'capacityBytes=1:int64',
  },
});

export type NodeCapability =
  | 'STAGE_UNSTAGE_VOLUME'
  | 'EXPAND_VOLUME'
  | 'SINGLE_NODE_MULTI_WRITER'
  | 'VOLUME_MOUNT_GROUP';

type Strings = Readonly<Record<string, string>>;

export interface VolumeCapability {
  block?: object;
  mount?: { fsType: string; mountFlags: readonly string[]; mountGroup?: string };
  access: { mode: string };
}

export interface StageRequest {
  volumeId: string;
  publishContext: Strings;
  stagingPath: string;
  capability: VolumeCapability;
  secrets: Strings;
  volumeContext: Strings;
}

export interface PublishRequest extends StageRequest {
  targetPath: string;
  readonly: boolean;
}

export interface ExpandRequest {
  volumeId: string;
  volumePath: string;
  range: { requiredBytes: number };
  stagingPath: string;
  capability: VolumeCapability;
  secrets: Strings;
}

export interface NodeInfo {
  nodeId: string;
  maxVolumes: number;
  topology?: { segments: Record<string, string> };
}
