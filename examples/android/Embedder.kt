package earkit

import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtSession
import java.io.File
import java.nio.FloatBuffer
import java.nio.LongBuffer
import org.json.JSONObject

/**
 * Sound in, vectors out, of one model file of earkit.
 *
 * Needs nothing but that file and onnxruntime-android. Sound is mono, 16 kHz, floats in [-1, 1]. Several threads may
 * share an embedder. A run takes milliseconds: still, not on the main thread.
 */
class Embedder(model: File, threads: Int = 1) : AutoCloseable {
    private val environment = OrtEnvironment.getEnvironment()
    private val options = OrtSession.SessionOptions().apply {
        setIntraOpNumThreads(threads)
        // Clips are of varying length: plans and arena would keep memory for each, for good.
        setMemoryPatternOptimization(false)
        setCPUArenaAllocator(false)
    }
    private val session = environment.createSession(model.path, options)

    /** What the file says about itself: see docs/model-file.md. */
    val info = JSONObject(
        requireNotNull(session.metadata.customMetadata["earkit"]) { "$model is no model file of earkit" },
    )

    init {
        check(info.getInt("schema") == 1) { "$model has schema ${info.getInt("schema")}, this reads 1" }
    }

    /** Embed one clip. Gives a vector of length one. */
    fun embed(samples: FloatArray): FloatArray =
        run(samples, "embedding") { tensor -> tensor.floatBuffer.run { FloatArray(remaining()).also(::get) } }

    /** Give the tokens of one clip, one for every 40 ms that has begun. */
    fun tokens(samples: FloatArray): LongArray =
        run(samples, "tokens") { tensor -> tensor.longBuffer.run { LongArray(remaining()).also(::get) } }

    override fun close() {
        session.close()
        options.close()
    }

    private fun <T> run(samples: FloatArray, output: String, read: (OnnxTensor) -> T): T {
        require(samples.isNotEmpty()) { "a clip without samples cannot be embedded" }
        val length = samples.size.toLong()
        return OnnxTensor.createTensor(environment, FloatBuffer.wrap(samples), longArrayOf(1, length)).use { audio ->
            OnnxTensor.createTensor(environment, LongBuffer.wrap(longArrayOf(length)), longArrayOf(1)).use { lengths ->
                session.run(mapOf("audio" to audio, "lengths" to lengths), setOf(output)).use { result ->
                    read(result[0] as OnnxTensor)
                }
            }
        }
    }
}

/** Cosine of two embeddings, which are of length one. */
fun similarity(a: FloatArray, b: FloatArray): Float = a.indices.sumOf { (a[it] * b[it]).toDouble() }.toFloat()
