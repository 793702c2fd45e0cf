import type { PersistentVolume, PersistentVolumeClaim, Volume } from '../../../kube/index.ts';

/** A volume of a pod that is more than files from the API, with what its claim led to. */
export interface StorageSpec {
  /** Its name in the pod. */
  volume: string;
  /** Names its folder and stands in messages: the PersistentVolume's, or the volume's own if it is inline. */
  name: string;
  /** The pod wants it read-only. */
  readOnly: boolean;
  /** A device, not a file system. */
  block: boolean;
  persistent?: PersistentVolume;
  claim?: PersistentVolumeClaim;
  /** csi and nfs as the pod itself names them. */
  inline?: Volume;
}
