import { chmod, mkdir, open, stat } from 'node:fs/promises';
import type { MountedVolume } from '../materials.ts';
import { linkDevice } from '../volumes/claims/device.ts';
import { deviceFailure } from '../volumes/errors.ts';
import type { CsiContext, CsiVolume } from './context.ts';
import { attach, find } from './filesystem.ts';
import { attachmentName, PLUGIN } from './paths.ts';
import { capabilityOf, podContext, secretsFor } from './requests.ts';
import { writeVolumeData } from './vol-data.ts';

/**
 * Stages and publishes a block volume: the driver puts the device where it is told to, from there it is bound to the
 * volume's map folder and linked from the pod's. Throws `VOLUME_MAP` with upstream's text.
 */
export async function mapDevice(volume: CsiVolume, context: CsiContext): Promise<MountedVolume> {
  const { spec, driver: name, handle, podUid, signal } = volume;
  const publishContext = await attach(volume, context);
  const paths = context.paths.device(spec.name);
  const source = spec.persistent?.spec?.csi;
  const volumeContext = source?.volumeAttributes ?? {};
  return context.locks.run(`${name}^${handle}`, async () => {
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
      const readonly = spec.readOnly || source?.readOnly === true;
      await driver.publish(
        {
          volumeId: handle,
          publishContext,
          stagingPath,
          targetPath,
          capability,
          readonly,
          secrets,
          volumeContext: { ...volumeContext, ...podContext(volume) },
        },
        signal,
      );
      what = 'MapVolume.MapBlockVolume failed';
      await bindDevice(targetPath, paths.map(podUid), context, signal);
      return linkDevice(targetPath, { spec, podUid, plugin: PLUGIN, layout: context.layout });
    } catch (error) {
      if (signal.aborted) throw error;
      throw deviceFailure(what, spec.name, error);
    }
  });
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
