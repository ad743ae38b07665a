// Somebody who may write to a queue and means it harm, or does not know better: sends messages that are fine for JMS and
// can't be read over STOMP. Prints how many.

import javax.jms.*;
import org.apache.activemq.ActiveMQConnectionFactory;

public class Stranger {
    public static void main(String[] args) throws Exception {
        ActiveMQConnectionFactory factory = new ActiveMQConnectionFactory(args[0]);
        // A text is then written as it is, with a NUL in it, which ends the frame.
        factory.setUseCompression(true);
        Connection connection = factory.createConnection();
        Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        MessageProducer producer = session.createProducer(session.createQueue(args[1]));
        int sent = 0;
        for (String length : new String[] {"-1", "ten", "18446744073709551615", "9999999999", "1", "0"}) {
            Message message = session.createTextMessage("a text of some length");
            message.setStringProperty("content-length", length);
            producer.send(message);
            sent++;
        }
        Message many = session.createTextMessage("many properties");
        for (int n = 0; n < 50_000; n++) {
            many.setStringProperty("p" + n, "v");
        }
        producer.send(many);
        sent++;
        producer.send(session.createTextMessage("it ends here\u0000and goes on like no frame"));
        sent++;
        connection.close();
        System.out.println(sent);
    }
}
