import { chmod, mkdir, open, stat } from 'node:fs/promises';
import { linkDevice } from '../volumes/claims/device.ts';
import { deviceFailure } from '../volumes/errors.ts';
import type { CsiContext, CsiVolume } from './context.ts';
import { attach, find, holdAttached, type Published } from './filesystem.ts';
import { attachmentName, PLUGIN, uniqueName } from './paths.ts';
import { capabilityOf, isReadOnly, podContext, secretsFor } from './requests.ts';
import { writeVolumeData } from './vol-data.ts';

/**
 * Stages and publishes a block volume: the driver puts the device where it is told to, from there it is bound to the
 * volume's map folder and linked from the pod's. Throws `VOLUME_MAP` with upstream's text.
 */
export async function mapDevice(volume: CsiVolume, context: CsiContext): Promise<Published> {
  const { spec, driver: name, handle, podUid, signal } = volume;
  const publishContext = await attach(volume, context);
  const paths = context.paths.device(spec.name);
  const source = spec.persistent?.spec?.csi;
  const volumeContext = source?.volumeAttributes ?? {};
  return context.locks.run(uniqueName(name, handle), async () => {
    holdAttached(volume, context);
    let what = 'MapVolume.SetUpDevice failed';
    try {
      const driver = find(context, name, 'blockMapper.SetUpDevice failed to get CSI client');
      const capability = await capabilityOf(volume, driver);
      await writeVolumeData(paths.data, {
        attachmentID: attachmentName(handle, name, context.nodeName),
        driverName: name,
        nodeName: context.nodeName,
        specVolID: spec.name,
        volumeHandle: handle,
      });
      await mkdir(paths.maps, { recursive: true, mode: 0o750 });
      let stagingPath = '';
      if (await driver.can('STAGE_UNSTAGE_VOLUME', signal)) {
        stagingPath = paths.staging;
        await mkdir(stagingPath, { recursive: true, mode: 0o750 });
        const secrets = await secretsFor(source?.nodeStageSecretRef, context, signal);
        await driver.stage(
          { volumeId: handle, publishContext, stagingPath, capability, secrets, volumeContext },
          signal,
        );
      }
      what = 'MapVolume.MapPodDevice failed';
      await mkdir(paths.publishDir, { recursive: true, mode: 0o750 });
      const targetPath = paths.publish(podUid);
      const secrets = await secretsFor(source?.nodePublishSecretRef, context, signal);
      await driver.publish(
        {
          volumeId: handle,
          publishContext,
          stagingPath,
          targetPath,
          capability,
          readonly: isReadOnly(spec),
          secrets,
          volumeContext: { ...volumeContext, ...podContext(volume) },
        },
        signal,
      );
      what = 'MapVolume.MapBlockVolume failed';
      await bindDevice(targetPath, paths.map(podUid), context, signal);
      for (const place of [`globalMapPath "${paths.maps}"`, `volumeMapPath "${context.paths.podDevices(podUid)}"`])
        context.node.event(volume.pod, {
          type: 'Normal',
          reason: 'SuccessfulMountVolume',
          message: `MapVolume.MapPodDevice succeeded for volume "${spec.name}" ${place}`,
        });
      const { hostPath } = await linkDevice(targetPath, { spec, podUid, plugin: PLUGIN, layout: context.layout });
      return { path: hostPath, stagingPath };
    } catch (error) {
      if (signal.aborted) throw error;
      throw deviceFailure(what, spec.name, error);
    }
  });
}

/** The device as an earlier run handed it over, if it still stands: the driver need not be asked again. */
export async function mappedDevice(
  name: string,
  podUid: string,
  { paths, mounter }: CsiContext,
): Promise<string | undefined> {
  const link = paths.podDevice(podUid, name);
  const device = await stat(link).catch(() => undefined);
  const map = paths.device(name).map(podUid);
  return device?.isBlockDevice() && (await mounter.isMounted(map)) ? link : undefined;
}

async function bindDevice(device: string, map: string, { mounter }: CsiContext, signal: AbortSignal): Promise<void> {
  const [source, target] = await Promise.all([stat(device), stat(map).catch(() => undefined)]);
  if (target && target.dev === source.dev && target.ino === source.ino) return;
  if (!target) {
    await (await open(map, 'w', 0o600)).close();
    await chmod(map, 0o600);
  }
  await mounter.mount([{ source: device, target: map, type: 'none', options: ['bind'] }], signal);
}
