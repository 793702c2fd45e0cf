import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { AgentError, errorCode } from '../../core/index.ts';

/**
 * Opens the file itself: no link and no pipe, since a container with the log folder mounted can put one there to show
 * other files of the host. Throws `LOG_UNREADABLE`.
 */
export async function openLog(path: string): Promise<FileHandle> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    if ((await file.stat()).isFile()) return file;
  } catch (cause) {
    await file?.close().catch(() => {});
    const gone = errorCode(cause) === 'ENOENT' ? 'no such file or directory' : (errorCode(cause) ?? 'unreadable');
    throw new AgentError({ code: 'LOG_UNREADABLE', message: `failed to open log file "${path}": ${gone}`, cause });
  }
  await file.close();
  throw new AgentError({ code: 'LOG_UNREADABLE', message: `failed to open log file "${path}": not a file` });
}
