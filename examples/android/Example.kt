package earkit

import android.content.Context
import android.util.Log
import java.io.File

/** How alike are two recordings of three seconds? The model file is in the app's assets. Not on the main thread. */
fun compareTwoRecordings(context: Context) {
    val model = File(context.filesDir, "model.onnx")
    if (!model.exists()) {
        context.assets.open("model.onnx").use { asset -> model.outputStream().use(asset::copyTo) }
    }
    Embedder(model).use { embedder ->
        val (first, second) = List(2) { embedder.embed(record(3.0)) }
        Log.i("earkit", "${embedder.info.getString("name")}: cosine ${similarity(first, second)}")
    }
}
