package earkit

import android.annotation.SuppressLint
import android.media.AudioFormat
import android.media.AudioRecord
import android.media.MediaRecorder

private const val SAMPLE_RATE = 16_000

/**
 * Record from the microphone, as the embedder wants it; blocks so long.
 *
 * The app must hold RECORD_AUDIO: in its manifest, and asked for with requestPermissions.
 */
@SuppressLint("MissingPermission")
fun record(seconds: Double): FloatArray {
    val (channel, encoding) = AudioFormat.CHANNEL_IN_MONO to AudioFormat.ENCODING_PCM_FLOAT
    val least = AudioRecord.getMinBufferSize(SAMPLE_RATE, channel, encoding)
    check(least > 0) { "this device does not record at $SAMPLE_RATE Hz in floats" }
    // Unlike MIC, this source goes without automatic gain and noise suppression.
    val source = MediaRecorder.AudioSource.VOICE_RECOGNITION
    val recorder = AudioRecord(source, SAMPLE_RATE, channel, encoding, maxOf(least, SAMPLE_RATE * Float.SIZE_BYTES))
    try {
        check(recorder.state == AudioRecord.STATE_INITIALIZED) { "the microphone is in use, or was not permitted" }
        recorder.startRecording()
        val samples = FloatArray((seconds * SAMPLE_RATE).toInt())
        var filled = 0
        while (filled < samples.size) {
            val read = recorder.read(samples, filled, samples.size - filled, AudioRecord.READ_BLOCKING)
            check(read > 0) { "the microphone stopped (AudioRecord.read gave $read)" }
            filled += read
        }
        return samples
    } finally {
        recorder.release()
    }
}
