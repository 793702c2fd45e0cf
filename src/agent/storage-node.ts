import type { KubeClient, KubeEventRecorder, Pod } from '../kube/index.ts';
import { type NodeController, type Notice, podReference, type StorageNode } from '../kubelet/index.ts';

export interface StorageNodeInput {
  client: KubeClient;
  node: NodeController;
  /** Calls after each change of the Node at the server. */
  onNode(handler: () => void): () => void;
  recorder: KubeEventRecorder;
  serverMinor: number;
}

/** The node as claims and storage drivers need it. */
export function storageNode({ client, node, onNode, recorder, serverMinor }: StorageNodeInput): StorageNode {
  return {
    client,
    serverMinor,
    node: () => node.node,
    onNode,
    inUseChanged: () => node.poke(),
    event: (pod: Pod, { type, reason, message }: Notice) => recorder.event(podReference(pod), type, reason, message),
  };
}
