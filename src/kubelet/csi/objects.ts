import { isNotFound, type KubeObject } from '../../kube/index.ts';
import type { StorageApi } from '../volumes/storage.ts';

/** storage.k8s.io/v1 CSIDriver: how a driver wants to be used. */
export interface CsiDriverObject extends KubeObject {
  spec?: {
    attachRequired?: boolean;
    podInfoOnMount?: boolean;
    volumeLifecycleModes?: string[];
    fsGroupPolicy?: 'ReadWriteOnceWithFSType' | 'File' | 'None';
    tokenRequests?: { audience: string; expirationSeconds?: number }[];
    requiresRepublish?: boolean;
    /** From 1.35: tokens go into the secrets, not into the volume's context. */
    serviceAccountTokenInSecrets?: boolean;
  };
}

export interface VolumeAttachment extends KubeObject {
  status?: {
    attached?: boolean;
    attachmentMetadata?: Record<string, string>;
    attachError?: { message?: string };
  };
}

const GROUP = '/apis/storage.k8s.io/v1';

/** Undefined if there is none: the driver is then used as the defaults say. */
export async function getCsiDriver(
  client: StorageApi,
  name: string,
  signal: AbortSignal,
): Promise<CsiDriverObject | undefined> {
  return orAbsent(client.get<CsiDriverObject>(`${GROUP}/csidrivers/${encodeURIComponent(name)}`, { signal }));
}

export function getAttachment(client: StorageApi, name: string, signal: AbortSignal): Promise<VolumeAttachment> {
  return client.get<VolumeAttachment>(`${GROUP}/volumeattachments/${encodeURIComponent(name)}`, { signal });
}

export async function orAbsent<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}
